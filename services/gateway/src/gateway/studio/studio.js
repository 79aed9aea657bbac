/** The studio, put together: who is signed in, which page is shown, the table, the history, the balance. */

import {
  beginLocally, isLocal, isOperator, isSignedIn, offersSignIn, onSignedOut, send, signIn, signOut, signUp, usePasted,
} from "/studio/api.js";
import { Card, isFinal } from "/studio/card.js";
import { find, show } from "/studio/dom.js";
import { followAll } from "/studio/events.js";
import * as history from "/studio/history.js";
import * as making from "/studio/making.js";
import { amount, explain } from "/studio/words.js";

const TITLES = { make: "Darkroom", follow: "One generation · Darkroom", account: "Account · Darkroom", operator: "Operator · Darkroom" };

const cards = new Map();
let leaving = new AbortController();
let shown = null;

const acts = {
  again: (generation) => making.again(generation),
  vary: (generation, asset) => making.vary(generation, asset),
  startFrom: (asset) => making.startFrom(asset),
  providerOf: (model) => making.providerOf(model),
  failed: complain,
  made(generation) {
    complain(null);
    history.put(generation);
    lay(generation);
    balance();
  },
  ended(generation) {
    history.put(generation);
    balance();
  },
};

/** Lays a generation on the table, once, and goes there unless it came by itself. */
function lay(generation, isAsked = true) {
  const former = cards.get(generation.id);
  const card = former?.element.isConnected ? former : new Card(generation, acts);
  cards.set(generation.id, card);
  if (card !== former || isAsked) find("work").prepend(card.element);
  show(find("nothing"), false);
  if (isAsked) card.element.focus();
}

/** What the user's stream tells: whatever is not final is on the table, also after a reload. */
async function listen(signal) {
  try {
    for await (const { name, data } of followAll(signal)) {
      if (name === "snapshot") for (const each of data.items.reverse()) told(each);
      if (name === "generation") told(data);
    }
  } catch (error) {
    if (!signal.aborted && isSignedIn()) complain(error);
  }
}

function told(generation) {
  const card = cards.get(generation.id);
  if (card) card.update(generation);
  else if (!isFinal(generation)) lay(generation, false);
  if (!card && isFinal(generation)) acts.ended(generation);
  else history.put(generation);
}

async function balance() {
  try {
    const credits = await send("GET", "/v1/credits");
    const { available, held } = credits;
    find("balance").textContent = `${amount(available)}${held ? ` (${amount(held)} set aside)` : ""}`;
    show(find("balance"));
    document.dispatchEvent(new CustomEvent("balance", { detail: credits }));
  } catch (error) {
    if (isSignedIn()) complain(error);
  }
}

function complain(error) {
  const place = find("problem");
  place.textContent = error ? explain(error) : "";
  show(place, Boolean(error));
  if (error) place.scrollIntoView({ block: "nearest" });
}

/** `#follow/<id>` and the like: the page, and what it is about. */
function wanted() {
  const [name, about] = location.hash.slice(1).split("/");
  return { name: name in TITLES && (name !== "follow" || about) ? name : "make", about };
}

const loaders = {
  make: async () => ({ enter: () => history.fit() }),
  follow: () => import("/studio/following.js"),
  account: () => import("/studio/account.js"),
  operator: () => import("/studio/operator.js"),
};

async function turn() {
  if (!isSignedIn()) return;
  if (location.hash === "#main") return;
  const { name, about } = wanted();
  shown?.leave?.();
  shown = null;
  for (const page of Object.keys(TITLES)) show(find(`page-${page}`), page === name);
  for (const link of find("pages").children) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = TITLES[name];
  complain(null);
  try {
    const page = await loaders[name]();
    if (wanted().name !== name) return;
    shown = page;
    await page.enter(find(`page-${name}`), about, { balance, complain });
  } catch (error) {
    complain(error);
  }
}

async function enter() {
  show(find("sign-in"), false);
  for (const part of ["pages"]) show(find(part));
  show(find("to-operator"), isOperator());
  show(find("sign-out"), !isLocal());
  complain(null);
  leaving = new AbortController();
  const turned = turn();
  try {
    await Promise.all([making.load(), history.load(), balance()]);
  } catch (error) {
    complain(error);
  }
  await turned;
  listen(leaving.signal);
}

async function ask() {
  leaving.abort();
  shown?.leave?.();
  shown = null;
  for (const card of cards.values()) card.remove();
  cards.clear();
  history.clear();
  for (const page of Object.keys(TITLES)) show(find(`page-${page}`), false);
  for (const part of ["pages", "sign-out", "balance"]) show(find(part), false);
  show(find("nothing"));
  show(find("sign-in"));
  show(find("people"), await offersSignIn().catch(() => false));
}

/** Runs what a form means, and says what was wrong with it. */
function onSubmit(form, act) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    complain(null);
    try {
      await act(form.elements, event.submitter?.value);
    } catch (error) {
      complain(error);
    }
  });
}

onSubmit(find("people"), async ({ email, password }, wish) => {
  const isIn = wish === "sign-up" ? await signUp(email.value, password.value) : !(await signIn(email.value, password.value));
  password.value = "";
  if (isIn) await enter();
  else complain(new Error("You have an account now. Confirm your e-mail address, then sign in"));
});

onSubmit(find("pasted"), async ({ token }) => {
  usePasted(token.value.trim());
  token.value = "";
  await enter();
});

find("sign-out").addEventListener("click", () => {
  complain(null);
  signOut();
});
addEventListener("hashchange", async () => {
  await turn();
  if (location.hash !== "#main") scrollTo({ top: 0, behavior: "instant" });
});
onSignedOut(ask);
making.begin(acts);
history.begin((generation) => {
  lay(generation);
});
if (isSignedIn() || (await beginLocally().catch(() => false))) await enter();
else await ask();

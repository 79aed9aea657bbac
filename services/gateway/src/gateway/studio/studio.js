/** The studio, put together: who is signed in, the form, the table, the history, the balance. */

import {
  beginLocally, isLocal, isSignedIn, offersSignIn, onSignedOut, send, signIn, signOut, signUp, usePasted,
} from "/studio/api.js";
import { Card } from "/studio/card.js";
import { find, show } from "/studio/dom.js";
import * as history from "/studio/history.js";
import * as making from "/studio/making.js";
import { amount, explain } from "/studio/words.js";

const cards = new Map();

const acts = {
  again: (generation) => making.again(generation),
  startFrom: (asset) => making.startFrom(asset),
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

/** Lays a generation on the table, once, and goes there. */
function lay(generation) {
  const former = cards.get(generation.id);
  const card = former?.element.isConnected ? former : new Card(generation, acts);
  cards.set(generation.id, card);
  find("work").prepend(card.element);
  show(find("nothing"), false);
  card.element.focus();
}

async function balance() {
  try {
    const { available, held } = await send("GET", "/v1/credits");
    find("balance").textContent = `${amount(available)}${held ? ` (${amount(held)} set aside)` : ""}`;
    show(find("balance"));
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

async function enter() {
  show(find("sign-in"), false);
  show(find("studio"));
  show(find("sign-out"), !isLocal());
  complain(null);
  try {
    await Promise.all([making.load(), history.load(), balance()]);
  } catch (error) {
    complain(error);
  }
}

async function ask() {
  for (const card of cards.values()) card.remove();
  cards.clear();
  for (const part of ["studio", "sign-out", "balance"]) show(find(part), false);
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
onSignedOut(ask);
making.begin(acts);
history.begin(lay);
if (isSignedIn() || (await beginLocally().catch(() => false))) await enter();
else await ask();

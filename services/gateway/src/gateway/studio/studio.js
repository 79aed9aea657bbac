/** The studio, put together: who is signed in, which page is shown, the table, the history, the balance. */

import { signal } from "@preact/signals";
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { beginLocally, isLocal, isOperator, isSignedIn, onSignedOut, signOut, whose } from "/studio/api.js";
import { Card } from "/studio/card.js";
import { followAll } from "/studio/events.js";
import * as history from "/studio/history.js";
import { Making } from "/studio/making.js";
import { SignIn } from "/studio/signing.js";
import { balance, complain, credits, loadModels, problem, signedIn, told } from "/studio/state.js";
import { clear, heard, lay, table } from "/studio/table.js";
import { Hint, html } from "/studio/view.js";
import * as wishes from "/studio/wishes.js";
import { amount, explain } from "/studio/words.js";

const TITLES = { make: "Darkroom", follow: "One generation · Darkroom", account: "Account · Darkroom", operator: "Operator · Darkroom" };
const LOADERS = {
  follow: () => import("/studio/following.js"),
  account: () => import("/studio/account.js"),
  operator: () => import("/studio/operator.js"),
};

/** `#follow/<id>` and the like: the page, and what it is about. */
function wanted() {
  const [name, about] = location.hash.slice(1).split("/");
  return { name: name in TITLES && (name !== "follow" || about) ? name : "make", about };
}

const turned = signal(wanted());

function Studio() {
  const { name, about } = turned.value;
  useEffect(() => {
    document.title = TITLES[name];
  }, [name]);
  const main = useRef();
  const isKnown = useRef(false);
  useEffect(() => {
    // Where somebody has just come or gone, what had the focus has gone, too.
    if (isKnown.current && document.activeElement === document.body) main.current.focus({ preventScroll: true });
    isKnown.current = signedIn.value !== null;
  }, [signedIn.value]);
  return html`
    <a class="skip" href="#main">Skip to the content</a>
    <${Top} page=${name} />
    <main id="main" ref=${main} tabindex="-1">
      <${Complaint} />
      ${signedIn.value === false && html`<${SignIn} enter=${enter} />`}
      ${signedIn.value && html`<${Table} isShown=${name === "make"} />`}
      ${signedIn.value && name in LOADERS && html`<${Later} key=${name} name=${name} about=${about} />`}
    </main>
    <footer><p><a href="/docs">The API</a></p></footer>
  `;
}

function Top({ page }) {
  const link = (name, title) => html`<a href="#${name}" aria-current=${page === name ? "page" : null}>${title}</a>`;
  const { available, held } = credits.value ?? {};
  return html`
    <header class="top">
      <h1><a href="#make"><img src="/studio/icon.svg" alt="" width="24" height="24" />Darkroom</a></h1>
      <nav id="pages" aria-label="Pages" hidden=${!signedIn.value}>
        ${link("make", "Make")}${link("account", "Account")}${signedIn.value && isOperator() && link("operator", "Operator")}
      </nav>
      <p id="balance" role="status" hidden=${!signedIn.value || !credits.value}>
        ${credits.value && `${amount(available)}${held ? ` (${amount(held)} set aside)` : ""}`}
      </p>
      ${signedIn.value && !isLocal() && html`<button type="button" class="quiet small" onClick=${leave}>Sign out</button>`}
    </header>
  `;
}

function Complaint() {
  const place = useRef();
  const error = problem.value;
  useEffect(() => {
    if (error) place.current.scrollIntoView({ block: "nearest" });
  }, [error]);
  return html`<p id="problem" ref=${place} class="problem" role="alert" hidden=${!error}>${error && explain(error)}</p>`;
}

/** Making, the table and what was made: it stays while another page is looked at, and goes on. */
function Table({ isShown }) {
  useEffect(() => {
    const leaving = new AbortController();
    told(() => Promise.all([loadModels().then(wishes.begin), history.load(), balance()])).then(() => listen(leaving.signal));
    return () => {
      leaving.abort();
      clear();
      history.clear();
    };
  }, []);
  return html`
    <div id="page-make" hidden=${!isShown}>
      <${Making} />
      <section class="bare" aria-labelledby="work-title" tabindex="-1">
        <h2 id="work-title">On the table</h2>
        ${table.value.length === 0 && html`<${Hint}>What you make appears here, step by step.<//>`}
        <div id="work">${table.value.map((each) => html`<${Card} key=${each.id} generation=${each} />`)}</div>
      </section>
      <${history.History} open=${lay} />
    </div>
  `;
}

/** What the user's stream tells: whatever is not final is on the table, also after a reload. */
async function listen(signal) {
  try {
    for await (const { name, data } of followAll(signal)) {
      if (name === "snapshot") for (const each of data.items.reverse()) heard(each);
      if (name === "generation") heard(data);
    }
  } catch (error) {
    if (!signal.aborted && isSignedIn()) complain(error);
  }
}

/** A page that is loaded when somebody turns to it. */
function Later({ name, about }) {
  const [Page, setPage] = useState(null);
  useEffect(() => {
    told(async () => {
      const loaded = await LOADERS[name]();
      setPage(() => loaded.Page);
    });
  }, []);
  return html`<div id="page-${name}">${Page && html`<${Page} key=${about} about=${about} />`}</div>`;
}

function enter() {
  complain(null);
  wishes.turnTo(whose());
  signedIn.value = true;
}

function leave() {
  complain(null);
  signOut();
}

addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  complain(null);
  turned.value = wanted();
  scrollTo({ top: 0, behavior: "instant" });
});
onSignedOut((isWished) => {
  if (isWished) wishes.clear();
  signedIn.value = false;
  credits.value = null;
});

const place = document.getElementById("studio");
place.replaceChildren();
render(html`<${Studio} />`, place);
const isIn = isSignedIn() || (await beginLocally().catch(() => false));
wishes.turnTo(whose());
signedIn.value = isIn;

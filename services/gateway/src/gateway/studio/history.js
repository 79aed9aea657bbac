/** What was made before: a page at a time, newest first. */

import { send } from "/studio/api.js";
import { find, make, show } from "/studio/dom.js";
import { explain, kindName, stateName } from "/studio/words.js";

const PAGE_ITEMS = 24;
const SYMBOLS = { image: "▦", video: "▶", speech: "♪", text: "¶" };

const list = find("history");
let cursor = null;
let words = "";
let opened = null;
let asking = null;

/** `open(generation)` is called with what was chosen. */
export function begin(open) {
  opened = open;
  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    words = find("words").value.trim();
    load();
  });
  find("more").addEventListener("click", next);
}

/** From the newest on. */
export async function load() {
  cursor = null;
  list.replaceChildren();
  await next();
}

/** Shows one that is new, or has changed, where it belongs. */
export function put(generation) {
  if (words && !generation.prompt.toLowerCase().includes(words.toLowerCase())) return;
  const former = document.getElementById(`made-${generation.id}`);
  if (former) former.replaceWith(item(generation));
  else list.prepend(item(generation));
  tell();
}

async function next() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  find("more").disabled = true;
  try {
    const query = { limit: PAGE_ITEMS, cursor, q: words };
    const page = await send("GET", "/v1/generations", { query, signal });
    const known = new Set([...list.children].map((each) => each.id));
    list.append(...page.items.filter(({ id }) => !known.has(`made-${id}`)).map(item));
    cursor = page.next_cursor;
    show(find("more"), cursor !== null);
    tell();
  } catch (error) {
    if (!signal.aborted) find("found").textContent = explain(error);
  } finally {
    find("more").disabled = false;
  }
}

function tell() {
  const count = list.children.length;
  const more = cursor === null ? "" : ", and there is more";
  find("found").textContent = count ? `${count} shown${more}.` : words ? "Nothing has these words." : "Nothing yet.";
}

function item(generation) {
  const asset = generation.assets[0];
  const picture = asset?.variants.thumbnail ?? asset?.variants.poster;
  const seen = picture
    ? make("img", { src: picture, alt: "", loading: "lazy", width: asset.width, height: asset.height })
    : make("span", { class: "nothing", "aria-hidden": "true" }, SYMBOLS[generation.kind]);
  const state = generation.status === "completed" ? "" : `, ${stateName(generation.status).toLowerCase()}`;
  const when = new Date(generation.created_at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  const label = `${kindName(generation.kind)}${state}, ${when}: ${generation.prompt}`;
  const button = make(
    "button",
    { type: "button", "aria-label": label, onclick: () => opened(generation) },
    seen,
    make("span", { class: "words" }, generation.prompt),
  );
  return make("li", { id: `made-${generation.id}` }, button);
}

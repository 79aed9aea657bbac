/** What was made before, newest first. Only what can be seen is on the page, however many there are. */

import { send } from "/studio/api.js";
import { find, make } from "/studio/dom.js";
import { explain, kindName, stateName } from "/studio/words.js";

const PAGE_ITEMS = 100;
const ROW_PIXELS = 212;
const LEAST_TILE_PIXELS = 150;
const GAP_PIXELS = 12;
const ROWS_AROUND = 3;
/** Beyond what can be seen, so that nothing is missing while one scrolls. */
const ROWS_AHEAD = 12;
/** Before the end of what is known, the next page is asked for. */
const SYMBOLS = { image: "▦", video: "▶", speech: "♪", text: "¶" };

const list = find("history");
const tiles = new Map();
let items = [];
let known = new Map();
let cursor = null;
let words = "";
let opened = null;
let asking = null;
let isDue = false;

/** `open(generation)` is called with what was chosen. */
export function begin(open) {
  opened = open;
  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    words = find("words").value.trim();
    load();
  });
  addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(soon).observe(list.parentElement);
}

/** From the newest on. */
export async function load() {
  clear();
  await next();
}

export function clear() {
  asking?.abort();
  asking = null;
  cursor = null;
  items = [];
  known = new Map();
  fit();
}

/** Shows one that is new, or has changed, where it belongs. */
export function put(generation) {
  if (words && !generation.prompt.toLowerCase().includes(words.toLowerCase())) return;
  const former = known.get(generation.id);
  if (former && former.status === generation.status) return;
  known.set(generation.id, generation);
  if (former) {
    items[items.indexOf(former)] = generation;
    tiles.get(generation.id)?.remove();
    tiles.delete(generation.id);
  } else {
    const place = items.findIndex((each) => each.created_at <= generation.created_at);
    if (place < 0 && cursor !== null) known.delete(generation.id);
    else items.splice(place < 0 ? items.length : place, 0, generation);
  }
  soon();
}

async function next() {
  asking = new AbortController();
  const { signal } = asking;
  try {
    const page = await send("GET", "/v1/generations", { query: { limit: PAGE_ITEMS, cursor, q: words }, signal });
    for (const each of page.items) {
      if (known.has(each.id)) continue;
      known.set(each.id, each);
      items.push(each);
    }
    cursor = page.next_cursor;
  } catch (error) {
    if (signal.aborted) return;
    find("found").textContent = explain(error);
  }
  if (asking?.signal === signal) asking = null;
  soon();
}

/** Once for each frame, however often it is asked for. */
function soon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    fit();
  });
}

/** Lays out the rows that can be seen; those that cannot are taken away. */
export function fit() {
  const width = list.clientWidth;
  if (!width && items.length) return;
  const columns = Math.max(2, Math.floor((width + GAP_PIXELS) / (LEAST_TILE_PIXELS + GAP_PIXELS)));
  const tile = (width - GAP_PIXELS * (columns - 1)) / columns;
  const rows = Math.ceil(items.length / columns);
  list.style.height = `${Math.max(0, rows * ROW_PIXELS - GAP_PIXELS)}px`;
  const top = -list.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / ROW_PIXELS) - ROWS_AROUND);
  const last = Math.min(rows, Math.ceil((top + innerHeight) / ROW_PIXELS) + ROWS_AROUND);
  place(first * columns, Math.min(items.length, last * columns), columns, tile);
  tell();
  if (cursor !== null && !asking && last + ROWS_AHEAD > rows && list.clientWidth) next();
}

function place(from, to, columns, width) {
  const wanted = items.slice(from, to);
  const seen = new Set(wanted.map((each) => each.id));
  for (const [id, element] of tiles) {
    if (seen.has(id) || element.contains(document.activeElement)) continue;
    element.remove();
    tiles.delete(id);
  }
  wanted.forEach((generation, index) => {
    const number = from + index;
    const element = tiles.get(generation.id) ?? item(generation);
    const left = (number % columns) * (width + GAP_PIXELS);
    element.style.width = `${width}px`;
    element.style.transform = `translate(${left}px, ${Math.floor(number / columns) * ROW_PIXELS}px)`;
    element.setAttribute("aria-posinset", number + 1);
    element.setAttribute("aria-setsize", cursor === null ? items.length : -1);
    tiles.set(generation.id, element);
    // In the order of the list, for those who do not see where it stands.
    const following = tiles.get(wanted[index - 1]?.id)?.nextSibling ?? (index ? null : list.firstChild);
    if (!element.isConnected) list.insertBefore(element, following);
  });
}

function tell() {
  const more = cursor === null ? " in all" : ", and more below";
  const said = items.length ? `${items.length.toLocaleString("en")}${more}.` : words ? "Nothing has these words." : "Nothing yet.";
  if (!asking && find("found").textContent !== said) find("found").textContent = said;
}

function item(generation) {
  const asset = generation.assets[0];
  const picture = asset?.variants.thumbnail ?? asset?.variants.poster;
  const seen = picture
    ? make("img", { src: picture, alt: "", width: asset.width, height: asset.height, decoding: "async" })
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
  return make("li", { id: `made-${generation.id}`, class: generation.status }, button);
}

/** What was made before, newest first. Only what can be seen is on the page, however many there are. */

import { batch, signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { send } from "/studio/api.js";
import { html } from "/studio/view.js";
import { explain, kindName, moment, stateName } from "/studio/words.js";

const PAGE_ITEMS = 100;
const ROW_PIXELS = 212;
const LEAST_TILE_PIXELS = 150;
const GAP_PIXELS = 12;
const ROWS_AROUND = 3;
/** Beyond what can be seen, so that nothing is missing while one scrolls. */
const ROWS_AHEAD = 12;
/** Before the end of what is known, the next page is asked for. */
const SYMBOLS = { image: "▦", video: "▶", speech: "♪", text: "¶" };

const items = signal([]);
/** Where the next page begins; null after the last one. */
const cursor = signal(null);
const asking = signal(null);
const problem = signal(null);
const known = new Map();
let words = "";

// -- what is known ---------------------------------------------------------------------------------------------------

/** From the newest on: all, or those with these words. */
export async function load(wanted = words) {
  clear();
  words = wanted;
  await next();
}

export function clear() {
  asking.value?.abort();
  known.clear();
  batch(() => {
    items.value = [];
    cursor.value = asking.value = problem.value = null;
  });
}

/** Shows one that is new, or has changed, where it belongs. */
export function put(generation) {
  if (words && !generation.prompt.toLowerCase().includes(words.toLowerCase())) return;
  const former = known.get(generation.id);
  if (former && former.status === generation.status) return;
  const all = items.value;
  const found = former ? all.indexOf(former) : all.findIndex((each) => each.created_at <= generation.created_at);
  if (found < 0 && cursor.value !== null) return;
  known.set(generation.id, generation);
  const place = found < 0 ? all.length : found;
  items.value = [...all.slice(0, place), generation, ...all.slice(former ? place + 1 : place)];
}

async function next() {
  const leaving = new AbortController();
  asking.value = leaving;
  const { signal: aborted } = leaving;
  try {
    const query = { limit: PAGE_ITEMS, cursor: cursor.value, q: words };
    const page = await send("GET", "/v1/generations", { query, signal: aborted });
    const fresh = page.items.filter(({ id }) => !known.has(id));
    for (const each of fresh) known.set(each.id, each);
    batch(() => {
      // What ended while the page was asked for may be older than what is on it.
      items.value = [...items.value, ...fresh].sort((one, other) => new Date(other.created_at) - new Date(one.created_at));
      cursor.value = page.next_cursor;
      asking.value = null;
    });
  } catch (error) {
    if (aborted.aborted) return;
    batch(() => {
      problem.value = error;
      asking.value = null;
    });
  }
}

// -- what is seen ----------------------------------------------------------------------------------------------------

/** `open(generation)` is called with what was chosen. */
export function History({ open }) {
  const search = (event) => {
    event.preventDefault();
    load(event.currentTarget.elements.words.value.trim());
  };
  return html`
    <section class="bare" aria-labelledby="history-title">
      <div class="heading">
        <h2 id="history-title">What you made</h2>
        <form id="search" role="search" onSubmit=${search}>
          <label for="words" class="unseen">Search your words</label>
          <input id="words" name="words" type="search" maxlength="200" placeholder="Search your words" />
          <button class="quiet small">Search</button>
        </form>
      </div>
      <${Found} />
      <${Tiles} open=${open} />
    </section>
  `;
}

function Found() {
  const before = useRef("");
  const number = items.value.length;
  const more = cursor.value === null ? " in all" : ", and more below";
  const said = number ? `${number.toLocaleString("en")}${more}.` : words ? "Nothing has these words." : "Nothing yet.";
  // While a page is asked for, what was said stands.
  if (!asking.value) before.current = problem.value ? explain(problem.value) : said;
  return html`<p id="found" class="hint" role="status">${before.current}</p>`;
}

function Tiles({ open }) {
  const list = useRef();
  const [{ columns, width, from, to, held }, setWindow] = useState({ columns: 2, width: 0, from: 0, to: 0, held: null });
  const all = items.value;
  const rows = Math.ceil(all.length / columns);
  const look = useRef();
  look.current = () => {
    // A frame that was asked for may come after the view has gone.
    const seen = list.current && windowOf(list.current, all.length);
    if (seen) setWindow((former) => (Object.keys(seen).every((name) => seen[name] === former[name]) ? former : seen));
  };
  useLayoutEffect(() => look.current(), [all]);
  useEffect(() => onceAFrame(() => look.current()), []);
  const isDue = cursor.value !== null && !asking.value && !problem.value && width > 0;
  useEffect(() => {
    if (isDue && to / columns + ROWS_AHEAD > rows) next();
  });
  const numbers = all.slice(from, to).map((_, index) => from + index);
  const apart = held === null ? -1 : all.findIndex(({ id }) => id === held);
  if (apart >= 0 && apart < from) numbers.unshift(apart);
  if (apart >= to) numbers.push(apart);
  const size = cursor.value === null ? all.length : -1;
  return html`
    <ul id="history" class="history" aria-labelledby="history-title" ref=${list}
      style=${{ height: `${Math.max(0, rows * ROW_PIXELS - GAP_PIXELS)}px` }}>
      ${numbers.map((number) => html`
        <${Tile} key=${all[number].id} generation=${all[number]} number=${number} columns=${columns} width=${width}
          size=${size} open=${open} />
      `)}
    </ul>
  `;
}

/** Which items can be seen, and how wide they are; null while none can. `held` has the focus, and is never taken away. */
function windowOf(list, number) {
  const whole = list.clientWidth;
  if (!whole) return null;
  const columns = Math.max(2, Math.floor((whole + GAP_PIXELS) / (LEAST_TILE_PIXELS + GAP_PIXELS)));
  const top = -list.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(top / ROW_PIXELS) - ROWS_AROUND);
  const last = Math.max(0, Math.ceil((top + innerHeight) / ROW_PIXELS) + ROWS_AROUND);
  const focused = list.contains(document.activeElement) ? document.activeElement.closest("li") : null;
  return {
    columns,
    width: (whole - GAP_PIXELS * (columns - 1)) / columns,
    from: Math.min(number, first * columns),
    to: Math.min(number, last * columns),
    held: focused?.dataset.id ?? null,
  };
}

/** Calls back when something may have moved, once for each frame; gives the way to end it. */
function onceAFrame(moved) {
  let isDue = false;
  const soon = () => {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
      isDue = false;
      moved();
    });
  };
  const sizes = new ResizeObserver(soon);
  sizes.observe(document.body);
  for (const name of ["scroll", "resize"]) addEventListener(name, soon, { passive: true });
  return () => {
    sizes.disconnect();
    for (const name of ["scroll", "resize"]) removeEventListener(name, soon);
  };
}

function Tile({ generation, number, columns, width, size, open }) {
  const left = (number % columns) * (width + GAP_PIXELS);
  const place = { width: `${width}px`, transform: `translate(${left}px, ${Math.floor(number / columns) * ROW_PIXELS}px)` };
  const content = useMemo(() => html`<${Content} generation=${generation} open=${open} />`, [generation, open]);
  return html`
    <li data-id=${generation.id} class=${generation.status} style=${place} aria-posinset=${number + 1} aria-setsize=${size}>
      ${content}
    </li>
  `;
}

function Content({ generation, open }) {
  const asset = generation.assets[0];
  const picture = asset?.variants.thumbnail ?? asset?.variants.poster;
  const state = generation.status === "completed" ? "" : `, ${stateName(generation.status).toLowerCase()}`;
  const label = `${kindName(generation.kind)}${state}, ${moment(generation.created_at)}: ${generation.prompt}`;
  return html`
    <button type="button" aria-label=${label} onClick=${() => open(generation)}>
      ${picture
        ? html`<img src=${picture} alt="" width=${asset.width} height=${asset.height} decoding="async" />`
        : html`<span class="nothing" aria-hidden="true">${SYMBOLS[generation.kind]}</span>`}
      <span class="words">${generation.prompt}</span>
    </button>
  `;
}

/** What lies on the table: generations that were asked for here or still run, the newest first. */

import { signal } from "@preact/signals";
import * as history from "/studio/history.js";
import { balance } from "/studio/state.js";

const FINAL = ["completed", "failed", "declined", "cancelled"];

export const isFinal = (generation) => FINAL.includes(generation.status);

export const table = signal([]);
/** `{ id }` of the one that somebody just asked to see: the page goes there. */
export const called = signal(null);
const away = new Set();

/** Lays a generation on the table, on top, and goes there. */
export function lay(generation) {
  const former = table.value.find(({ id }) => id === generation.id);
  away.delete(generation.id);
  table.value = [former ?? generation, ...without(generation.id)];
  called.value = { id: generation.id };
}

/** One that was just accepted. */
export function made(generation) {
  history.put(generation);
  lay(generation);
  balance();
}

/**
 * What a stream tells of a generation, in whichever order streams do: the end is told once, and stays. What is not final
 * comes on the table by itself, unless it was put away.
 */
export function heard(generation) {
  const former = table.value.find(({ id }) => id === generation.id);
  if (former && isFinal(former)) return;
  if (former) table.value = table.value.map((each) => (each === former ? generation : each));
  else if (!isFinal(generation) && !away.has(generation.id)) table.value = [generation, ...table.value];
  history.put(generation);
  if (isFinal(generation)) balance();
}

export function putAway(id) {
  away.add(id);
  table.value = without(id);
}

export function clear() {
  away.clear();
  table.value = [];
}

const without = (id) => table.value.filter((each) => each.id !== id);

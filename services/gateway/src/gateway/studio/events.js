/**
 * Server-sent events. EventSource cannot send a bearer token, so the streams are read by hand.
 *
 * A browser opens six connections to one address for all of its tabs, and requests need some of them: so each stream is
 * read by one tab, which tells the others.
 */

import { open, pause, send, whose } from "/studio/api.js";
import { areShared, inTurn, isTaken } from "/studio/locks.js";
import { isFinal } from "/studio/table.js";

const LONGEST_PAUSE_SECONDS = 15;
const PLACES = ["first", "second", "third"];
/** For streams of single generations, of all tabs together. */
const APART = areShared ? "" : ` ${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;
/** Tabs that take no turns with others each read for themselves, and hear nothing twice. */

/** `{name, data}` of each event until the outcome; a broken stream begins anew with the whole generation. */
export async function* follow(id, signal) {
  const begin = (options) => open("GET", `/v1/generations/${id}/events`, options);
  const look = async (options) => {
    const data = await send("GET", `/v1/generations/${id}`, options);
    return { name: isFinal(data) ? "outcome" : "generation", data };
  };
  for await (const event of shared(id, begin, look, placed, signal)) {
    yield event;
    if (event.name === "outcome") return;
  }
}

/** `snapshot`, then `generation` for each of the user's that ends, for as long as somebody listens. */
export function followAll(signal) {
  const begin = (options) => open("GET", "/v1/events", options);
  const look = async (options) => ({ name: "snapshot", data: await send("GET", "/v1/generations", options) });
  return shared("all", begin, look, (act) => act(), signal);
}

/** What one tab reads. The others look at what there is, hear what it tells them, and read on when it leaves. */
async function* shared(about, begin, look, inPlace, signal) {
  const leaving = new AbortController();
  const ended = AbortSignal.any([signal, leaving.signal]);
  const name = `darkroom ${whose()} ${about}${APART}`;
  const tabs = new BroadcastChannel(name);
  let ear;
  const heard = new ReadableStream({ start: (controller) => (ear = controller) }).getReader();
  tabs.onmessage = ({ data }) => ear.enqueue(data);
  ended.addEventListener("abort", () => {
    tabs.onmessage = null;
    ear.close();
  });
  const read = async () => {
    for await (const event of again(begin, ended)) {
      tabs.postMessage(event);
      ear.enqueue(event);
    }
  };
  try {
    const isRead = await isTaken(name);
    inTurn(name, () => inPlace(read, ended), ended)
      .catch((error) => ended.aborted || ear.error(error))
      .finally(() => tabs.close());
    if (isRead) yield* seen(look, ended);
    for (;;) {
      const { done, value } = await heard.read();
      if (done) return;
      yield value;
    }
  } finally {
    leaving.abort();
  }
}

/** What there is now, unless it cannot be had for the moment: what comes next says it, too. */
async function* seen(look, signal) {
  try {
    yield await look({ signal });
  } catch (error) {
    if (!signal.aborted && isForGood(error)) throw error;
  }
}

/** Acts in whichever place is free first. */
function placed(act, ended) {
  const found = new AbortController();
  const either = AbortSignal.any([ended, found.signal]);
  return new Promise((resolve, reject) => {
    const take = async () => {
      // Two may be free at the same time.
      if (either.aborted) return;
      found.abort();
      await act().then(resolve, reject);
    };
    ended.addEventListener("abort", () => reject(ended.reason));
    for (const place of PLACES) inTurn(`darkroom stream ${place}${APART}`, take, either).catch(() => {});
  });
}

/** A stream that ends is opened again, after the last event that had an id. */
async function* again(begin, signal) {
  let failures = 0;
  let last = null;
  while (!signal.aborted) {
    try {
      const answer = await begin({ signal, headers: last ? { "Last-Event-ID": last } : {} });
      for await (const event of parts(answer.body)) {
        failures = 0;
        last = event.id ?? last;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (isForGood(error)) throw error;
    }
    failures += 1;
    await pause(Math.min(2 ** failures / 4, LONGEST_PAUSE_SECONDS) * 1000);
  }
}

const isForGood = ({ status }) => status >= 400 && status < 500 && status !== 429;

async function* parts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parsed(block);
      if (event) yield event;
    }
  }
}

function parsed(block) {
  const event = { name: "message", id: null, data: "" };
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) event.name = line.slice(7);
    if (line.startsWith("id: ")) event.id = line.slice(4);
    if (line.startsWith("data: ")) event.data += line.slice(6);
  }
  return event.data ? { ...event, data: JSON.parse(event.data) } : null;
}

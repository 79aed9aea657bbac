/** Server-sent events. EventSource cannot send a bearer token, so the streams are read by hand. */

import { open, pause } from "/studio/api.js";

const LONGEST_PAUSE_SECONDS = 15;
const MOST_STREAMS = 3;
/** Of single generations: a browser opens six connections to one address, and requests need some of them. */

let streams = 0;
const waiting = [];

/** `{name, data}` of each event until the outcome; a broken stream begins anew with the whole generation. */
export async function* follow(id, signal) {
  if (streams >= MOST_STREAMS) await new Promise((resolve) => waiting.push(resolve));
  streams += 1;
  try {
    for await (const event of again((options) => open("GET", `/v1/generations/${id}/events`, options), signal)) {
      yield event;
      if (event.name === "outcome") return;
    }
  } finally {
    streams -= 1;
    waiting.shift()?.();
  }
}

/** `snapshot`, then `generation` for each of the user's that ends, for as long as somebody listens. */
export function followAll(signal) {
  return again((options) => open("GET", "/v1/events", options), signal);
}

/** A stream that ends is opened again, after the last event that had an id. */
async function* again(begin, signal) {
  let failures = 0;
  let last = null;
  while (!signal.aborted) {
    try {
      const answer = await begin({ signal, headers: last ? { "Last-Event-ID": last } : {} });
      for await (const event of read(answer.body)) {
        failures = 0;
        last = event.id ?? last;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      const isForGood = error.status >= 400 && error.status < 500 && error.status !== 429;
      if (isForGood) throw error;
    }
    failures += 1;
    await pause(Math.min(2 ** failures / 4, LONGEST_PAUSE_SECONDS) * 1000);
  }
}

async function* read(body) {
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

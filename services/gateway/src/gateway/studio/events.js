/** A generation's server-sent events. EventSource cannot send a bearer token, so the stream is read by hand. */

import { open, pause } from "/studio/api.js";

const LONGEST_PAUSE_SECONDS = 15;

/** `{name, data}` of each event until the outcome; a broken stream begins anew with the whole generation. */
export async function* follow(id, signal) {
  let failures = 0;
  while (!signal.aborted) {
    try {
      const answer = await open("GET", `/v1/generations/${id}/events`, { signal });
      for await (const event of read(answer.body)) {
        failures = 0;
        yield event;
        if (event.name === "outcome") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      const isForGood = error.status >= 400 && error.status < 500 && error.status !== 429;
      if (isForGood) throw error;
    }
    failures += 1;
    await pause(Math.min(2 ** failures / 2, LONGEST_PAUSE_SECONDS) * 1000);
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
  let name = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  return data ? { name, data: JSON.parse(data) } : null;
}

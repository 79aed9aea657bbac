/** The page about one generation: every step of its way through the services, as the log and the rows tell it. */

import { send } from "/studio/api.js";
import { isFinal } from "/studio/card.js";
import { draw, make } from "/studio/dom.js";
import { follow } from "/studio/events.js";
import { amount, explain, kindName, moment, seconds, stateName } from "/studio/words.js";

const LANES = ["gateway", "ledger", "generator", "storage"];
const WIDTH = 720;
const LANE_HEIGHT = 44;
const LABEL_WIDTH = 92;
const RADIUS = 6;
const SETTLING_MILLISECONDS = 700;
/** After the end: the ledger settles and the client is told a moment later. */

const NAMES = {
  accepted: "Accepted",
  requested: "Requested",
  held: "Credits held",
  funded: "Funded",
  attempt: "Attempt at the provider",
  rendered: "Rendered",
  stored: "Stored",
  outcome: "Outcome",
  recorded: "Recorded",
  settled: "Settled",
  notified: "Client told",
};
const FACTS = ["requested", "funded", "rendered", "outcome", "notified"];

let leaving = null;

export async function enter(place, id) {
  leave();
  leaving = new AbortController();
  const { signal } = leaving;
  const title = make("h2", { id: "follow-title" }, "One generation");
  const about = make("div", {});
  const way = make("div", {});
  const back = make("p", {}, make("a", { href: "#make" }, "Back to the studio"));
  place.replaceChildren(make("section", { "aria-labelledby": "follow-title" }, title, about, way, back));
  const generation = await send("GET", `/v1/generations/${id}`, { signal });
  describe(about, generation);
  await tell(way, id, signal);
  if (isFinal(generation)) return;
  watch(about, way, id, signal).catch((error) => {
    if (!signal.aborted) about.append(make("p", { class: "problem", role: "alert" }, explain(error)));
  });
}

export function leave() {
  leaving?.abort();
}

/** Looks again when something was heard, and at no other time. */
async function watch(about, way, id, signal) {
  let stage = null;
  for await (const { name, data } of follow(id, signal)) {
    if (name === "progress" && data.stage === stage) continue;
    stage = data.stage;
    if (name !== "progress") describe(about, data);
    await tell(way, id, signal);
  }
  await new Promise((resolve) => setTimeout(resolve, SETTLING_MILLISECONDS));
  if (!signal.aborted) await tell(way, id, signal);
}

function describe(place, generation) {
  const fact = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  place.replaceChildren(
    make("p", { class: "prompt" }, generation.prompt),
    make(
      "dl",
      { class: "facts" },
      fact("State", stateName(generation.status)),
      fact("Kind", kindName(generation.kind)),
      fact("Model", generation.model),
      fact("Cost", `${amount(generation.cost)} of at most ${amount(generation.quote)}`),
      fact("Asked for", moment(generation.created_at)),
      fact("Id", make("code", {}, generation.id)),
    ),
  );
}

async function tell(place, id, signal) {
  const { trace_id, steps, silent } = await send("GET", `/v1/generations/${id}/timeline`, { signal });
  const start = new Date(steps[0].at);
  const silence = make("p", { class: "problem", hidden: !silent.length }, `Did not answer: ${silent.join(", ")}. Reload the page to ask again.`);
  place.replaceChildren(
    make("p", { class: "hint" }, "Trace ", make("code", {}, trace_id ?? "none")),
    lanes(steps, start),
    make("ol", { class: "way", "aria-label": "Every step" }, ...steps.map((step) => line(step, start))),
    make("p", { class: "hint" }, "Dots that are filled are facts on the log; the others are what a service's own rows remember."),
    silence,
  );
}

function line(step, start) {
  const at = new Date(step.at);
  const took = step.ended_at ? `, took ${seconds(new Date(step.ended_at) - at)}` : "";
  const parts = [
    step.number !== null && step.step === "attempt" ? `number ${step.number}` : null,
    step.provider,
    step.model,
    step.state,
    step.credits === null ? null : amount(step.credits),
    step.code,
    step.stream ? `${step.stream} ${step.sequence}` : null,
  ];
  return make(
    "li",
    { class: `${step.by} ${step.stream ? "fact" : "row-told"}` },
    make("time", { datetime: step.at, title: step.at }, `+${seconds(at - start)}`),
    make("span", { class: "who" }, step.by),
    make("strong", {}, NAMES[step.step] ?? step.step),
    make("span", { class: "hint" }, parts.filter(Boolean).join(" · ") + took),
  );
}

/** The same as a picture: a lane for each service, a line from fact to fact. */
function lanes(steps, start) {
  const height = LANES.length * LANE_HEIGHT;
  const whole = Math.max(1, ...steps.map((step) => new Date(step.ended_at ?? step.at) - start));
  const x = (at) => LABEL_WIDTH + RADIUS + ((new Date(at) - start) / whole) * (WIDTH - LABEL_WIDTH - 3 * RADIUS);
  const y = (by) => LANE_HEIGHT * (Math.max(0, LANES.indexOf(by)) + 0.5);
  const facts = steps.filter((step) => FACTS.includes(step.step) && step.stream);
  const picture = draw("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "lanes", "aria-hidden": "true" });
  for (const by of LANES) {
    const label = draw("text", { x: 0, y: y(by) + 4 });
    label.textContent = by;
    picture.append(label, draw("line", { x1: LABEL_WIDTH, x2: WIDTH, y1: y(by), y2: y(by), class: "lane" }));
  }
  picture.append(draw("polyline", { class: "hops", points: facts.map((step) => `${x(step.at)},${y(step.by)}`).join(" ") }));
  for (const step of steps) {
    if (step.ended_at) {
      picture.append(draw("line", { x1: x(step.at), x2: x(step.ended_at), y1: y(step.by), y2: y(step.by), class: `span ${step.by}` }));
    }
    const dot = draw("circle", { cx: x(step.at), cy: y(step.by), r: RADIUS, class: `${step.by} ${step.stream ? "fact" : "row-told"}` });
    const name = draw("title", {});
    name.textContent = NAMES[step.step] ?? step.step;
    dot.append(name);
    picture.append(dot);
  }
  return make("div", { class: "scroll" }, picture);
}

/** The page about one generation: every step of its way through the services, as the log and the rows tell it. */

import { useEffect, useState } from "preact/hooks";
import { pause, send } from "/studio/api.js";
import { follow } from "/studio/events.js";
import { complain } from "/studio/state.js";
import { isFinal } from "/studio/table.js";
import { Hint, html, Part } from "/studio/view.js";
import { amount, kindName, moment, seconds, stateName } from "/studio/words.js";

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

export function Page({ about }) {
  const [generation, setGeneration] = useState(null);
  const [way, setWay] = useState(null);
  useEffect(() => {
    const leaving = new AbortController();
    watch(about, setGeneration, setWay, leaving.signal).catch((error) => {
      if (!leaving.signal.aborted) complain(error);
    });
    return () => leaving.abort();
  }, [about]);
  return html`
    <${Part} id="follow-title" title="One generation">
      ${generation && html`<${Facts} generation=${generation} />`}
      ${way && html`<${Way} told=${way} />`}
      <p><a href="#make">Back to the studio</a></p>
    <//>
  `;
}

/** Looks again when something was heard, and at no other time. */
async function watch(id, setGeneration, setWay, signal) {
  const look = async () => setWay(await send("GET", `/v1/generations/${id}/timeline`, { signal }));
  const generation = await send("GET", `/v1/generations/${id}`, { signal });
  setGeneration(generation);
  await look();
  if (isFinal(generation)) return;
  let stage = null;
  for await (const { name, data } of follow(id, signal)) {
    if (name === "progress" && data.stage === stage) continue;
    stage = data.stage;
    if (name !== "progress") setGeneration(data);
    await look();
  }
  await pause(SETTLING_MILLISECONDS);
  if (!signal.aborted) await look();
}

function Facts({ generation }) {
  const facts = [
    ["State", stateName(generation.status)],
    ["Kind", kindName(generation.kind)],
    ["Model", generation.model],
    ["Cost", `${amount(generation.cost)} of at most ${amount(generation.quote)}`],
    ["Asked for", moment(generation.created_at)],
    ["Id", html`<code>${generation.id}</code>`],
  ];
  return html`
    <p class="prompt">${generation.prompt}</p>
    <dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  `;
}

function Way({ told: { trace_id, steps, silent } }) {
  const start = new Date(steps[0].at);
  return html`
    <p class="hint">Trace <code>${trace_id ?? "none"}</code></p>
    <${Lanes} steps=${steps} start=${start} />
    <ol class="way" aria-label="Every step">${steps.map((step) => html`<${Step} step=${step} start=${start} />`)}</ol>
    <${Hint}>Dots that are filled are facts on the log; the others are what a service's own rows remember.<//>
    ${silent.length > 0 && html`<p class="problem">Did not answer: ${silent.join(", ")}. Reload the page to ask again.</p>`}
  `;
}

const nameOf = (step) => NAMES[step.step] ?? step.step;
const lookOf = (step) => `${step.by} ${step.stream ? "fact" : "row-told"}`;

function Step({ step, start }) {
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
  return html`
    <li class=${lookOf(step)}>
      <time datetime=${step.at} title=${step.at}>+${seconds(at - start)}</time>
      <span class="who">${step.by}</span>
      <strong>${nameOf(step)}</strong>
      <span class="hint">${parts.filter(Boolean).join(" · ") + took}</span>
    </li>
  `;
}

/** The same as a picture: a lane for each service, a line from fact to fact. */
function Lanes({ steps, start }) {
  const whole = Math.max(1, ...steps.map((step) => new Date(step.ended_at ?? step.at) - start));
  const x = (at) => LABEL_WIDTH + RADIUS + ((new Date(at) - start) / whole) * (WIDTH - LABEL_WIDTH - 3 * RADIUS);
  const y = (by) => LANE_HEIGHT * (Math.max(0, LANES.indexOf(by)) + 0.5);
  const facts = steps.filter((step) => FACTS.includes(step.step) && step.stream);
  return html`
    <div class="scroll">
      <svg viewBox="0 0 ${WIDTH} ${LANES.length * LANE_HEIGHT}" class="lanes" aria-hidden="true">
        ${LANES.map((by) => html`
          <text x="0" y=${y(by) + 4}>${by}</text>
          <line x1=${LABEL_WIDTH} x2=${WIDTH} y1=${y(by)} y2=${y(by)} class="lane" />
        `)}
        <polyline class="hops" points=${facts.map((step) => `${x(step.at)},${y(step.by)}`).join(" ")} />
        ${steps.map((step) => html`
          ${step.ended_at && html`<line x1=${x(step.at)} x2=${x(step.ended_at)} y1=${y(step.by)} y2=${y(step.by)} class="span ${step.by}" />`}
          <circle cx=${x(step.at)} cy=${y(step.by)} r=${RADIUS} class=${lookOf(step)}><title>${nameOf(step)}</title></circle>
        `)}
      </svg>
    </div>
  `;
}

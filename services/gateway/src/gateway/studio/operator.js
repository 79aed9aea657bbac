/** The house at work: what is asked for and what becomes of it, who waits, what it costs, and what needs a hand. */

import { useState } from "preact/hooks";
import { send } from "/studio/api.js";
import { Button, Figures, Hint, html, Part, Table, useAnswer } from "/studio/view.js";
import { amount, kindName, moment, money, stateName } from "/studio/words.js";

const SPANS = [[15, "15 minutes"], [60, "an hour"], [24 * 60, "a day"]];
const BAR_WIDTH = 10;
const BARS_HEIGHT = 64;

export function Page() {
  const [minutes, setMinutes] = useState(60);
  const [house, lookAtHouse] = useAnswer(() => send("GET", "/v1/operator/house", { query: { minutes } }), [minutes]);
  const [letters, lookAtLetters] = useAnswer(() => send("GET", "/v1/operator/letters"), [minutes]);
  const look = () => Promise.all([lookAtHouse(), lookAtLetters()]);
  return html`
    <${Part} id="house-title" title="The house">
      <div class="row">
        <label for="span" class="beside">Over</label>
        <select id="span" value=${minutes} onChange=${(event) => setMinutes(Number(event.currentTarget.value))}>
          ${SPANS.map(([value, name]) => html`<option value=${value}>${name}</option>`)}
        </select>
        <${Button} act=${look}>Look again<//>
      </div>
      ${house && html`<${House} seen=${house} />`}
    <//>
    <${Part} id="letters-title" title="Dead letters">
      ${letters && html`<${Letters} items=${letters.items} look=${lookAtLetters} />`}
    <//>
    <${Part} id="models-title" title="Models"><${Models} /><//>
  `;
}

// -- how it stands ---------------------------------------------------------------------------------------------------

const dollars = (micros) => money(micros / 10_000, "usd");
const took = (value) => (value === null ? null : `${value.toFixed(1)} s`);
const number = (value) => value?.toLocaleString("en");

function House({ seen }) {
  const asked = seen.accepted.reduce((sum, each) => sum + each.number, 0);
  const waiting = seen.lag.reduce((sum, each) => sum + (each.waiting ?? 0), 0);
  const unknown = seen.unknown_attempts?.length;
  const paid = seen.money && [
    ["Paid by users", `${amount(seen.money.captured)} · ${dollars(seen.money.revenue_micros)}`],
    ["Paid to providers", dollars(seen.money.cost_micros)],
    ["Margin", dollars(seen.money.margin_micros), seen.money.margin_micros < 0],
  ];
  const figures = [
    ["Asked for", number(asked)],
    ["At work", number(seen.open_work)],
    ["Facts waiting", number(waiting), waiting > 1000],
    ["Open holds", seen.open_holds === null ? null : `${seen.open_holds} · ${amount(seen.open_credits)}`],
    ["Unknown attempts", number(unknown), unknown > 0],
    ["Dead letters", number(seen.dead_letters), seen.dead_letters > 0],
    ...(paid ?? []),
  ];
  return html`
    <div>
      <${Figures} of=${figures} />
      <h3>Asked for, minute by minute</h3>
      <${Bars} numbers=${seen.by_minute} />
      <h3>What became of it</h3>
      <${Outcomes} accepted=${seen.accepted} />
      <h3>Providers</h3>
      <${Providers} found=${seen.providers} />
      <${Attention} seen=${seen} />
      <details>
        <summary>Every queue</summary>
        <${Table} label="Every queue" heads=${["Consumer", "Facts waiting"]}
          rows=${seen.lag.map((each) => ({ key: each.consumer, cells: [each.consumer, number(each.waiting) ?? "not known"] }))} />
      </details>
    </div>
  `;
}

function Bars({ numbers }) {
  const most = Math.max(1, ...numbers);
  const label = `${numbers.reduce((sum, each) => sum + each, 0)} in ${numbers.length} minutes, at most ${Math.max(...numbers)} in one`;
  const bar = (each, index) => {
    const height = each ? Math.max(2, (each / most) * BARS_HEIGHT) : 1;
    return html`<rect x=${index * BAR_WIDTH + 1} y=${BARS_HEIGHT - height} width=${BAR_WIDTH - 2} height=${height} class=${each ? "some" : "none"} />`;
  };
  return html`
    <svg viewBox="0 0 ${numbers.length * BAR_WIDTH} ${BARS_HEIGHT}" class="bars" role="img" aria-label=${label} preserveAspectRatio="none">
      ${numbers.map(bar)}
    </svg>
  `;
}

function Outcomes({ accepted }) {
  if (!accepted.length) return html`<${Hint}>Nothing was asked for.<//>`;
  const rows = accepted.map((each) => ({
    key: `${each.kind} ${each.status}`,
    cells: [kindName(each.kind), stateName(each.status), number(each.number), took(each.p50_seconds), took(each.p95_seconds)],
  }));
  return html`<${Table} label="What became of it" heads=${["Kind", "State", "Number", "Half within", "95 % within"]} rows=${rows} />`;
}

function Providers({ found }) {
  if (!found?.length) return html`<${Hint}>${found ? "None was asked." : "The generator does not answer."}<//>`;
  const rows = found.map((each) => ({
    key: each.provider,
    cells: [
      each.provider, number(each.rendered), number(each.failed), number(each.unknown), number(each.running),
      took(each.p50_seconds), took(each.p95_seconds), dollars(each.cost_micros),
    ],
  }));
  const heads = ["Provider", "Rendered", "Failed", "Unknown", "Running", "Half within", "95 % within", "Cost"];
  return html`<${Table} label="Providers" heads=${heads} rows=${rows} />`;
}

/** What somebody should look at, where there is any. */
function Attention({ seen: { breakers, unknown_attempts, oldest_holds } }) {
  const code = (id) => html`<code>${id}</code>`;
  const open = breakers?.map((each) => ({
    key: `${each.provider} ${each.model}`, cells: [each.provider, each.model, moment(each.open_until)],
  }));
  const unknown = unknown_attempts?.map((each) => ({
    key: each.generation_id, cells: [moment(each.began_at), each.provider, each.model, code(each.generation_id)],
  }));
  const held = oldest_holds?.map((each) => ({
    key: each.generation_id, cells: [moment(each.opened_at), amount(each.credits), code(each.generation_id)],
  }));
  const found = [
    ["Left alone for a while", "Breakers", ["Provider", "Model", "Until"], open],
    ["Unknown attempts", "Unknown attempts", ["Since", "Provider", "Model", "Generation"], unknown],
    ["Oldest open holds", "Oldest open holds", ["Since", "Held", "Generation"], held],
  ];
  return found
    .filter(([, , , rows]) => rows?.length)
    .map(([title, label, heads, rows]) => html`<h3>${title}</h3><${Table} label=${label} heads=${heads} rows=${rows} />`);
}

// -- what can be done ------------------------------------------------------------------------------------------------

function Models() {
  const [found, look] = useAnswer(() => send("GET", "/v1/operator/models"));
  const turn = async (model) => {
    await send("PUT", `/v1/operator/models/${encodeURIComponent(model.id)}`, { body: { on: model.state === "off" } });
    await look();
  };
  const rows = found?.items.map((model) => {
    const name = model.state === "off" ? "Switch on" : "Switch off";
    const press = html`<${Button} act=${() => turn(model)} label="${name}: ${model.id}">${name}<//>`;
    return { key: model.id, cells: [model.id, kindName(model.kind), model.provider, modelState(model), press] };
  });
  return rows && html`<${Table} label="Models" heads=${["Model", "Kind", "Provider", "State", "Do"]} rows=${rows} />`;
}

function modelState(model) {
  const legacy = model.successor ? `legacy: ${model.successor} does its work` : model.state;
  return model.has_key || model.state === "off" ? legacy : `${legacy}, without a key`;
}

function Letters({ items, look }) {
  if (!items.length) return html`<${Hint}>None: every fact was handled.<//>`;
  const replay = async (letter) => {
    await send("POST", `/v1/operator/letters/${letter.sequence}/replay`);
    await look();
  };
  const drop = async (letter) => {
    if (!confirm("Forget this letter?")) return;
    await send("DELETE", `/v1/operator/letters/${letter.sequence}`);
    await look();
  };
  const rows = items.map((letter) => ({
    key: letter.sequence,
    cells: [
      moment(letter.at), letter.consumer, letter.subject, letter.reason, number(letter.deliveries),
      html`
        <span class="acts">
          <${Button} act=${() => replay(letter)}>Replay<//>
          <${Button} act=${() => drop(letter)}>Drop<//>
        </span>
      `,
    ],
  }));
  return html`
    <${Hint}>Replay drives the letter's generation: every service says its part again, which is harmless. An outcome that the log holds is recorded.<//>
    <${Table} label="Dead letters" heads=${["Since", "Consumer", "Fact", "Why", "Tried", "Do"]} rows=${rows} />
  `;
}

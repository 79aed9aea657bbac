/** The house at work: what is asked for and what becomes of it, who waits, what it costs, and what needs a hand. */

import { send } from "/studio/api.js";
import { button, draw, make, part, table } from "/studio/dom.js";
import { amount, kindName, moment, money, stateName } from "/studio/words.js";

const SPANS = [[15, "15 minutes"], [60, "an hour"], [24 * 60, "a day"]];
const BAR_WIDTH = 10;
const BARS_HEIGHT = 64;

let acts = null;
let minutes = 60;

export async function enter(place, _, given) {
  acts = given;
  const house = make("div", {});
  const models = make("div", {});
  const letters = make("div", {});
  const look = () => told(Promise.all([figures(house), deadLetters(letters)]));
  const span = make("select", { id: "span", onchange: () => {
    minutes = Number(span.value);
    look();
  } }, ...SPANS.map(([value, name]) => make("option", { value, selected: value === minutes }, name)));
  place.replaceChildren(
    part(
      "house-title",
      "The house",
      make("div", { class: "row" }, make("label", { for: "span", class: "beside" }, "Over"), span, button("Look again", look)),
      house,
    ),
    part("letters-title", "Dead letters", letters),
    part("models-title", "Models", models),
  );
  await Promise.all([look(), told(switches(models))]);
}

const told = (asked) => asked.catch(acts.complain);

const doing = (act) => async (event) => {
  const pressed = event.currentTarget;
  pressed.disabled = true;
  acts.complain(null);
  await told(Promise.resolve().then(act));
  pressed.disabled = false;
};

async function figures(place) {
  const seen = await send("GET", "/v1/operator/house", { query: { minutes } });
  const number = (name, value, isBad = false) =>
    make("div", { class: isBad ? "bad" : null }, make("dt", {}, name), make("dd", {}, String(value ?? "not known")));
  const asked = seen.accepted.reduce((sum, each) => sum + each.number, 0);
  const waiting = seen.lag.reduce((sum, each) => sum + (each.waiting ?? 0), 0);
  const dollars = (micros) => money(micros / 10_000, "usd");
  place.replaceChildren(
    make(
      "dl",
      { class: "figures" },
      number("Asked for", asked),
      number("At work", seen.open_work),
      number("Facts waiting", waiting, waiting > 1000),
      number("Open holds", seen.open_holds === null ? null : `${seen.open_holds} · ${amount(seen.open_credits)}`),
      number("Unknown attempts", seen.unknown_attempts?.length, seen.unknown_attempts?.length > 0),
      number("Dead letters", seen.dead_letters, seen.dead_letters > 0),
      ...(seen.money
        ? [
            number("Paid by users", `${amount(seen.money.captured)} · ${dollars(seen.money.revenue_micros)}`),
            number("Paid to providers", dollars(seen.money.cost_micros)),
            number("Margin", dollars(seen.money.margin_micros), seen.money.margin_micros < 0),
          ]
        : []),
    ),
    make("h3", {}, "Asked for, minute by minute"),
    bars(seen.by_minute),
    make("h3", {}, "What became of it"),
    outcomes(seen.accepted),
    make("h3", {}, "Providers"),
    providers(seen),
    ...attention(seen),
    queues(seen.lag),
  );
}

function queues(lag) {
  const rows = lag.map((each) => [each.consumer, String(each.waiting ?? "not known")]);
  return make("details", {}, make("summary", {}, "Every queue"), table("Every queue", ["Consumer", "Facts waiting"], rows));
}

const none = (said) => make("p", { class: "hint" }, said);
const took = (value) => (value === null ? null : `${value.toFixed(1)} s`);

function outcomes(accepted) {
  if (!accepted.length) return none("Nothing was asked for.");
  const rows = accepted.map((each) => [
    kindName(each.kind), stateName(each.status), String(each.number), took(each.p50_seconds), took(each.p95_seconds),
  ]);
  return table("What became of it", ["Kind", "State", "Number", "Half within", "95 % within"], rows);
}

function providers({ providers: found }) {
  if (!found?.length) return none(found ? "None was asked." : "The generator does not answer.");
  const rows = found.map((each) => [
    each.provider, String(each.rendered), String(each.failed), String(each.unknown), String(each.running),
    took(each.p50_seconds), took(each.p95_seconds), money(each.cost_micros / 10_000, "usd"),
  ]);
  const heads = ["Provider", "Rendered", "Failed", "Unknown", "Running", "Half within", "95 % within", "Cost"];
  return table("Providers", heads, rows);
}

/** What somebody should look at, where there is any. */
function attention({ breakers, unknown_attempts, oldest_holds }) {
  const link = (id) => make("code", {}, id);
  const found = [];
  if (breakers?.length) {
    const rows = breakers.map((each) => [each.provider, each.model, moment(each.open_until)]);
    found.push(make("h3", {}, "Left alone for a while"), table("Breakers", ["Provider", "Model", "Until"], rows));
  }
  if (unknown_attempts?.length) {
    const rows = unknown_attempts.map((each) => [moment(each.began_at), each.provider, each.model, link(each.generation_id)]);
    found.push(make("h3", {}, "Unknown attempts"), table("Unknown attempts", ["Since", "Provider", "Model", "Generation"], rows));
  }
  if (oldest_holds?.length) {
    const rows = oldest_holds.map((each) => [moment(each.opened_at), amount(each.credits), link(each.generation_id)]);
    found.push(make("h3", {}, "Oldest open holds"), table("Oldest open holds", ["Since", "Held", "Generation"], rows));
  }
  return found;
}

function bars(numbers) {
  const most = Math.max(1, ...numbers);
  const width = numbers.length * BAR_WIDTH;
  const label = `${numbers.reduce((sum, each) => sum + each, 0)} in ${numbers.length} minutes, at most ${Math.max(...numbers)} in one`;
  const picture = draw("svg", { viewBox: `0 0 ${width} ${BARS_HEIGHT}`, class: "bars", role: "img", "aria-label": label, preserveAspectRatio: "none" });
  numbers.forEach((each, index) => {
    const height = each ? Math.max(2, (each / most) * BARS_HEIGHT) : 1;
    const bar = { x: index * BAR_WIDTH + 1, y: BARS_HEIGHT - height, width: BAR_WIDTH - 2, height, class: each ? "some" : "none" };
    picture.append(draw("rect", bar));
  });
  return picture;
}

async function switches(place) {
  const { items } = await send("GET", "/v1/operator/models");
  const rows = items.map((model) => {
    const state = make("span", {}, named(model));
    const press = button("", doing(async () => {
      const on = model.state === "off";
      Object.assign(model, await send("PUT", `/v1/operator/models/${encodeURIComponent(model.id)}`, { body: { on } }));
      fit();
    }));
    const fit = () => {
      state.textContent = named(model);
      press.textContent = model.state === "off" ? "Switch on" : "Switch off";
      press.setAttribute("aria-label", `${press.textContent}: ${model.id}`);
    };
    fit();
    return [model.id, kindName(model.kind), model.provider, state, press];
  });
  place.replaceChildren(table("Models", ["Model", "Kind", "Provider", "State", "Do"], rows));
}

function named(model) {
  const legacy = model.successor ? `legacy: ${model.successor} does its work` : model.state;
  return model.has_key || model.state === "off" ? legacy : `${legacy}, without a key`;
}

async function deadLetters(place) {
  const { items } = await send("GET", "/v1/operator/letters");
  if (!items.length) {
    place.replaceChildren(none("None: every fact was handled."));
    return;
  }
  const rows = items.map((letter) => [
    moment(letter.at), letter.consumer, letter.subject, letter.reason, String(letter.deliveries),
    make(
      "span",
      { class: "acts" },
      button("Replay", doing(async () => {
        await send("POST", `/v1/operator/letters/${letter.sequence}/replay`);
        await deadLetters(place);
      })),
      button("Drop", doing(async () => {
        if (!confirm("Forget this letter?")) return;
        await send("DELETE", `/v1/operator/letters/${letter.sequence}`);
        await deadLetters(place);
      })),
    ),
  ]);
  place.replaceChildren(
    none("Replay drives the letter's generation: every service says its part again, which is harmless."),
    table("Dead letters", ["Since", "Consumer", "Fact", "Why", "Tried", "Do"], rows),
  );
}

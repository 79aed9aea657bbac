/** The account: what there is, where it went, more of it, and the keys and webhooks of programs. */

import { newKey, open, send } from "/studio/api.js";
import { button, make, part, show, table } from "/studio/dom.js";
import { webhooks } from "/studio/webhooks.js";
import { amount, moment, money } from "/studio/words.js";

const ENTRIES = 25;
const CSV_ENTRIES = 500;
/** The most that one table has. */

let acts = null;
let hear = null;

export async function enter(place, _, given) {
  acts = given;
  leave();
  const sums = make("div", { role: "status" });
  const shop = make("div", {});
  const entries = make("div", {});
  const keys = make("div", {});
  const hooks = make("div", {});
  hear = ({ detail }) => total(sums, detail);
  document.addEventListener("balance", hear);
  place.replaceChildren(
    part("credits-title", "Credits", sums, shop),
    part("statement-title", "Where they went", entries),
    part("keys-title", "API keys", keys),
    part("webhooks-title", "Webhooks", hooks),
  );
  await Promise.all([acts.balance(), packs(shop), statement(entries), apiKeys(keys), webhooks(hooks, acts)].map(told));
}

export function leave() {
  if (hear) document.removeEventListener("balance", hear);
}

const told = (asked) => asked.catch(acts.complain);

/** Runs what a button means, and says what was wrong with it. */
const doing = (act) => async (event) => {
  const pressed = event.currentTarget;
  pressed.disabled = true;
  acts.complain(null);
  await told(Promise.resolve().then(act));
  pressed.disabled = false;
};

function total(place, { available, held, used, owed, balance, currency }) {
  const figure = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  const figures = [
    figure("Available", amount(available)),
    figure("Set aside", amount(held)),
    figure("Used", amount(used)),
    ...(owed ? [figure("Owed", amount(owed))] : []),
    figure("Worth", money(balance * 100, currency)),
  ];
  place.replaceChildren(make("dl", { class: "figures" }, ...figures));
}

// -- more of it ------------------------------------------------------------------------------------------------------

async function packs(place) {
  const { items, publishable_key } = await send("GET", "/v1/credit-packs");
  if (!items.length) return;
  const isTest = Boolean(publishable_key?.startsWith("pk_test_"));
  const said = make("p", { class: "hint", role: "status" }, isTest ? "Stripe's test mode: its test card pays, and no money moves." : "");
  const offers = items.map((pack) =>
    button(`${amount(pack.credits)} for ${money(pack.amount, pack.currency)}`, doing(() => buy(pack, isTest, said)), "quiet"),
  );
  place.replaceChildren(make("h3", {}, "Top up"), make("div", { class: "row" }, ...offers), said);
}

/** Real cards are entered at Stripe's own elements, in a frontend that loads them: this page loads nothing of others. */
async function buy(pack, isTest, said) {
  if (!isTest) {
    said.textContent = "Real money is paid in your frontend, with Stripe.js: this page loads nothing from elsewhere.";
    return;
  }
  said.textContent = "Being paid …";
  const payment = await send("POST", "/v1/payments", { body: { pack: pack.id }, key: newKey() });
  const { state, credits } = await send("POST", `/v1/payments/${payment.id}/test-card`);
  said.textContent = state === "credited" ? `Paid: ${amount(credits)} more.` : "It was not paid.";
  await acts.balance();
}

// -- where they went -------------------------------------------------------------------------------------------------

async function statement(place) {
  let cursor = null;
  const rows = [];
  const shown = make("div", {});
  const more = button("Show more", doing(next));
  async function next() {
    const page = await send("GET", "/v1/credits/statement", { query: { limit: ENTRIES, cursor } });
    cursor = page.next_cursor;
    rows.push(...page.items.map(entry));
    show(more, cursor !== null);
    shown.replaceChildren(
      rows.length ? table("Statement", ["When", "What", "Change", "Why"], rows) : make("p", { class: "hint" }, "Nothing yet."),
    );
  }
  place.replaceChildren(shown, make("div", { class: "row" }, more, button("As a spreadsheet", doing(csv))));
  await next();
}

function entry(item) {
  const change = item.granted - item.captured + item.refunded;
  const name = item.entry.replaceAll("_", " ");
  const what = item.generation_id ? make("a", { href: `#follow/${item.generation_id}` }, name) : name;
  const sign = change > 0 ? "+" : change < 0 ? "−" : "";
  return [moment(item.at), what, `${sign}${amount(Math.abs(change))}`, item.why];
}

async function csv() {
  const answer = await open("GET", "/v1/credits/statement", { query: { format: "csv", limit: CSV_ENTRIES } });
  const href = URL.createObjectURL(await answer.blob());
  make("a", { href, download: "statement.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

// -- keys of programs ------------------------------------------------------------------------------------------------

async function apiKeys(place) {
  const fresh = make("div", {});
  const list = make("div", {});
  const load = async () => {
    const { items } = await send("GET", "/v1/api-keys");
    const rows = items.map((key) => [
      key.name,
      make("code", {}, `${key.prefix}…`),
      key.scopes.join(", "),
      key.last_used_at ? moment(key.last_used_at) : "never",
      make(
        "span",
        { class: "acts" },
        button("New key", doing(async () => reveal(await send("POST", `/v1/api-keys/${key.id}/rotate`)))),
        button("Revoke", doing(async () => {
          if (!confirm(`Revoke ${key.name}? Programs that use it are refused.`)) return;
          await send("DELETE", `/v1/api-keys/${key.id}`);
          await load();
        })),
      ),
    ]);
    list.replaceChildren(
      rows.length ? table("API keys", ["Name", "Key", "May", "Last used", "Do"], rows) : make("p", { class: "hint" }, "None yet."),
    );
  };
  const reveal = async (made) => {
    fresh.replaceChildren(secret("key-shown", `The key of ${made.name}, shown once`, made.key));
    fresh.querySelector("textarea").select();
    await load();
  };
  const name = make("input", { id: "key-name", name: "name", required: true, maxlength: 100 });
  const cap = make("input", { id: "key-cap", name: "cap", type: "number", min: 1, step: 1, inputmode: "numeric" });
  const form = make(
    "form",
    { class: "inline" },
    make("div", {}, make("label", { for: "key-name" }, "Name"), name),
    make("div", {}, make("label", { for: "key-cap" }, "Credits a day (no bound if empty)"), cap),
    make("button", { class: "small" }, "Make a key"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    acts.complain(null);
    const body = { name: name.value, credits_per_day: cap.value ? Number(cap.value) : null };
    await told(send("POST", "/v1/api-keys", { body }).then(reveal));
    form.reset();
  });
  place.replaceChildren(fresh, list, form);
  await load();
}

/** A secret that is shown this once, ready to be copied. */
function secret(id, label, value) {
  return make(
    "div",
    { class: "shared" },
    make("label", { for: id }, label),
    make("textarea", { id, readonly: true, rows: 2 }, value),
    make("p", { class: "hint", role: "status" }, "Copy it now: it is not shown again."),
  );
}

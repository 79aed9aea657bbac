/** The account: what there is, where it went, more of it, and the keys and webhooks of programs. */

import { useEffect, useState } from "preact/hooks";
import { newKey, open, send } from "/studio/api.js";
import { balance, credits, told } from "/studio/state.js";
import { Button, Copyable, Figures, Hint, html, Inline, Part, save, Table, useAnswer } from "/studio/view.js";
import { Webhooks } from "/studio/webhooks.js";
import { amount, moment, money } from "/studio/words.js";

const ENTRIES = 25;
const CSV_ENTRIES = 500;
/** The most that one table has. */
const KEPT_MILLISECONDS = 60_000;

export function Page() {
  useEffect(() => {
    balance();
  }, []);
  return html`
    <${Part} id="credits-title" title="Credits"><${Total} /><${Shop} /><//>
    <${Part} id="statement-title" title="Where they went"><${Statement} /><//>
    <${Part} id="keys-title" title="API keys"><${Keys} /><//>
    <${Part} id="webhooks-title" title="Webhooks"><${Webhooks} /><//>
  `;
}

function Total() {
  if (!credits.value) return null;
  const { available, held, used, owed, balance: worth, currency } = credits.value;
  const figures = [
    ["Available", amount(available)],
    ["Set aside", amount(held)],
    ["Used", amount(used)],
    ...(owed ? [["Owed", amount(owed)]] : []),
    ["Worth", money(worth * 100, currency)],
  ];
  return html`<div role="status"><${Figures} of=${figures} /></div>`;
}

// -- more of it ------------------------------------------------------------------------------------------------------

/** Real cards are entered at Stripe's own elements, in a frontend that loads them: this page loads nothing of others. */
function Shop() {
  const [offered] = useAnswer(() => send("GET", "/v1/credit-packs"));
  const [said, say] = useState(null);
  if (!offered?.items.length) return null;
  const isTest = Boolean(offered.publishable_key?.startsWith("pk_test_"));
  const buy = async (pack) => {
    if (!isTest) {
      say("Real money is paid in your frontend, with Stripe.js: this page loads nothing from elsewhere.");
      return;
    }
    say("Being paid …");
    const payment = await send("POST", "/v1/payments", { body: { pack: pack.id }, key: newKey() });
    const paid = await send("POST", `/v1/payments/${payment.id}/test-card`);
    say(paid.state === "credited" ? `Paid: ${amount(paid.credits)} more.` : "It was not paid.");
    await balance();
  };
  const first = isTest ? "Stripe's test mode: its test card pays, and no money moves." : "";
  return html`
    <div>
      <h3>Top up</h3>
      <div class="row">
        ${offered.items.map((pack) => html`
          <${Button} key=${pack.id} look="quiet" act=${() => buy(pack)}>
            ${amount(pack.credits)} for ${money(pack.amount, pack.currency)}
          <//>
        `)}
      </div>
      <p class="hint" role="status">${said ?? first}</p>
    </div>
  `;
}

// -- where they went -------------------------------------------------------------------------------------------------

function Statement() {
  const [{ items, cursor }, setSeen] = useState({ items: null, cursor: null });
  const next = async () => {
    const page = await send("GET", "/v1/credits/statement", { query: { limit: ENTRIES, cursor } });
    setSeen({ items: [...(items ?? []), ...page.items], cursor: page.next_cursor });
  };
  useEffect(() => {
    told(next);
  }, []);
  if (!items) return null;
  const rows = items.map((item, index) => ({ key: index, cells: entry(item) }));
  return html`
    ${rows.length
      ? html`<${Table} label="Statement" heads=${["When", "What", "Change", "Why"]} rows=${rows} />`
      : html`<${Hint}>Nothing yet.<//>`}
    <div class="row">
      ${cursor !== null && html`<${Button} act=${next}>Show more<//>`}
      <${Button} act=${csv}>As a spreadsheet<//>
    </div>
  `;
}

function entry(item) {
  const change = item.granted - item.captured + item.refunded;
  const name = item.entry.replaceAll("_", " ");
  const what = item.generation_id ? html`<a href="#follow/${item.generation_id}">${name}</a>` : name;
  const sign = change > 0 ? "+" : change < 0 ? "−" : "";
  return [moment(item.at), what, `${sign}${amount(Math.abs(change))}`, item.why];
}

async function csv() {
  const answer = await open("GET", "/v1/credits/statement", { query: { format: "csv", limit: CSV_ENTRIES } });
  const href = URL.createObjectURL(await answer.blob());
  save(href, "statement.csv");
  setTimeout(() => URL.revokeObjectURL(href), KEPT_MILLISECONDS);
}

// -- keys of programs ------------------------------------------------------------------------------------------------

function Keys() {
  const [found, look] = useAnswer(() => send("GET", "/v1/api-keys"));
  const [fresh, reveal] = useState(null);
  const make = async ({ name, cap }) => {
    const body = { name: name.value, credits_per_day: cap.value ? Number(cap.value) : null };
    reveal(await send("POST", "/v1/api-keys", { body }));
    await look();
  };
  const renew = async (key) => {
    reveal(await send("POST", `/v1/api-keys/${key.id}/rotate`));
    await look();
  };
  const revoke = async (key) => {
    if (!confirm(`Revoke ${key.name}? Programs that use it are refused.`)) return;
    await send("DELETE", `/v1/api-keys/${key.id}`);
    await look();
  };
  const rows = found?.items.map((key) => ({
    key: key.id,
    cells: [
      key.name,
      html`<code>${key.prefix}…</code>`,
      key.scopes.join(", "),
      key.last_used_at ? moment(key.last_used_at) : "never",
      html`
        <span class="acts">
          <${Button} act=${() => renew(key)}>New key<//>
          <${Button} act=${() => revoke(key)}>Revoke<//>
        </span>
      `,
    ],
  }));
  return html`
    ${fresh && html`
      <${Copyable} id="key-shown" label="The key of ${fresh.name}, shown once" value=${fresh.key}
        said="Copy it now: it is not shown again." />
    `}
    ${rows?.length > 0 && html`<${Table} label="API keys" heads=${["Name", "Key", "May", "Last used", "Do"]} rows=${rows} />`}
    ${rows?.length === 0 && html`<${Hint}>None yet.<//>`}
    <${Inline} act=${make} name="Make a key">
      <div><label for="key-name">Name</label><input id="key-name" name="name" required maxlength="100" /></div>
      <div>
        <label for="key-cap">Credits a day (no bound if empty)</label>
        <input id="key-cap" name="cap" type="number" min="1" step="1" inputmode="numeric" />
      </div>
    <//>
  `;
}

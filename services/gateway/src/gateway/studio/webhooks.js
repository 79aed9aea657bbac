/** Where programs are told, what was sent there, and sending it again. */

import { useEffect, useState } from "preact/hooks";
import { send } from "/studio/api.js";
import { told } from "/studio/state.js";
import { Button, Copyable, Hint, html, Inline, Table, useAnswer } from "/studio/view.js";
import { moment } from "/studio/words.js";

const PAGE_ITEMS = 100;

export function Webhooks() {
  const [found, look] = useAnswer(() => send("GET", "/v1/webhooks"));
  const [fresh, reveal] = useState(null);
  const [opened, setOpened] = useState(null);
  /** Opened again, the log is asked for anew. */
  const show = (hook) => setOpened({ hook });
  const add = async ({ url }) => {
    reveal(await send("POST", "/v1/webhooks", { body: { url: url.value } }));
    await look();
  };
  const test = async (hook) => {
    await send("POST", `/v1/webhooks/${hook.id}/test`);
    show(hook);
  };
  const renew = async (hook) => {
    reveal(await send("POST", `/v1/webhooks/${hook.id}/rotate`));
    await look();
  };
  const turn = async (hook) => {
    const state = hook.state === "active" ? "disabled" : "active";
    await send("PATCH", `/v1/webhooks/${hook.id}`, { body: { state } });
    await look();
  };
  const remove = async (hook) => {
    if (!confirm(`Remove ${hook.url}? Its deliveries are forgotten.`)) return;
    await send("DELETE", `/v1/webhooks/${hook.id}`);
    setOpened(null);
    await look();
  };
  const rows = found?.items.map((hook) => ({
    key: hook.id,
    cells: [
      hook.url,
      stateOf(hook),
      html`
        <span class="acts">
          <${Button} act=${() => show(hook)}>Deliveries<//>
          <${Button} act=${() => test(hook)}>Test<//>
          <${Button} act=${() => renew(hook)}>New secret<//>
          <${Button} act=${() => turn(hook)}>${hook.state === "active" ? "Switch off" : "Switch on"}<//>
          <${Button} act=${() => remove(hook)}>Remove<//>
        </span>
      `,
    ],
  }));
  return html`
    ${fresh && html`
      <${Copyable} id="secret-shown" label="The secret that its messages are signed with, shown once" value=${fresh.secret}
        said="Copy it now: it is not shown again." />
    `}
    ${rows?.length > 0 && html`<${Table} label="Webhooks" heads=${["Address", "State", "Do"]} rows=${rows} />`}
    ${rows?.length === 0 && html`<${Hint}>None yet.<//>`}
    <${Inline} act=${add} name="Add it">
      <div><label for="hook-url">An https address of yours</label><input id="hook-url" name="url" type="url" required /></div>
    <//>
    ${opened && html`<${Log} opened=${opened} look=${() => show(opened.hook)} />`}
  `;
}

function stateOf(hook) {
  if (hook.state !== "active") return `off: ${hook.why_disabled}`;
  return hook.failing_since ? `failing since ${moment(hook.failing_since)}` : "active";
}

function Log({ opened, look }) {
  const { hook } = opened;
  const [seen, setSeen] = useState(null);
  const next = async (items) => {
    const before = items.at(-1)?.id ?? null;
    const page = await send("GET", `/v1/webhooks/${hook.id}/deliveries`, { query: { before } });
    setSeen({ items: [...items, ...page.items], isMore: page.items.length === PAGE_ITEMS });
  };
  useEffect(() => {
    told(() => next([]));
  }, [opened]);
  const again = async (delivery) => {
    await send("POST", `/v1/webhooks/${hook.id}/deliveries/${delivery.id}/redeliver`);
    look();
  };
  const rows = seen?.items.map((each) => ({
    key: each.id,
    cells: [
      moment(each.created_at),
      each.generation_id ? html`<a href="#follow/${each.generation_id}">${each.event}</a>` : each.event,
      `${each.state}, tried ${each.attempts}×`,
      [each.status, each.error].filter(Boolean).join(" ") || null,
      html`<${Button} act=${() => again(each)}>Send again<//>`,
    ],
  }));
  return html`
    <div>
      <h3>Sent to ${hook.url}</h3>
      ${rows?.length > 0 && html`
        <${Table} label="Deliveries to ${hook.url}" heads=${["When", "What", "State", "Answer", "Do"]} rows=${rows} />
      `}
      ${rows?.length === 0 && html`<${Hint}>Nothing was sent yet.<//>`}
      <div class="row">
        ${seen?.isMore && html`<${Button} act=${() => next(seen.items)}>Older ones<//>`}
        <${Button} act=${look}>Look again<//>
      </div>
    </div>
  `;
}

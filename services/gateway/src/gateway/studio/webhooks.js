/** Where programs are told, what was sent there, and sending it again. */

import { send } from "/studio/api.js";
import { button, make, show, table } from "/studio/dom.js";
import { moment } from "/studio/words.js";

/** `acts.complain` hears of what was wrong. */
export async function webhooks(place, acts) {
  const fresh = make("div", {});
  const list = make("div", {});
  const log = make("div", {});
  const doing = (act) => async () => {
    acts.complain(null);
    await Promise.resolve().then(act).catch(acts.complain);
  };
  const reveal = (made) => {
    const id = "secret-shown";
    fresh.replaceChildren(
      make("label", { for: id }, "The secret that its messages are signed with, shown once"),
      make("textarea", { id, readonly: true, rows: 2 }, made.secret),
    );
    fresh.querySelector("textarea").select();
    return load();
  };
  async function load() {
    const { items } = await send("GET", "/v1/webhooks");
    const rows = items.map((hook) => [
      hook.url,
      hook.state === "active" ? (hook.failing_since ? `failing since ${moment(hook.failing_since)}` : "active") : `off: ${hook.why_disabled}`,
      make(
        "span",
        { class: "acts" },
        button("Deliveries", doing(() => deliveries(hook))),
        button("Test", doing(async () => {
          await send("POST", `/v1/webhooks/${hook.id}/test`);
          await deliveries(hook);
        })),
        button("New secret", doing(async () => reveal(await send("POST", `/v1/webhooks/${hook.id}/rotate`)))),
        button(hook.state === "active" ? "Switch off" : "Switch on", doing(async () => {
          const state = hook.state === "active" ? "disabled" : "active";
          await send("PATCH", `/v1/webhooks/${hook.id}`, { body: { state } });
          await load();
        })),
        button("Remove", doing(async () => {
          if (!confirm(`Remove ${hook.url}? Its deliveries are forgotten.`)) return;
          await send("DELETE", `/v1/webhooks/${hook.id}`);
          log.replaceChildren();
          await load();
        })),
      ),
    ]);
    list.replaceChildren(
      rows.length ? table("Webhooks", ["Address", "State", "Do"], rows) : make("p", { class: "hint" }, "None yet."),
    );
  }
  async function deliveries(hook) {
    const rows = [];
    const shown = make("div", {});
    const more = button("Older ones", doing(next));
    let before = null;
    async function next() {
      const { items } = await send("GET", `/v1/webhooks/${hook.id}/deliveries`, { query: { before } });
      before = items.at(-1)?.id ?? null;
      show(more, items.length === 100);
      rows.push(...items.map((each) => line(hook, each)));
      shown.replaceChildren(
        rows.length
          ? table(`Deliveries to ${hook.url}`, ["When", "What", "State", "Answer", "Do"], rows)
          : make("p", { class: "hint" }, "Nothing was sent yet."),
      );
    }
    log.replaceChildren(
      make("h3", {}, `Sent to ${hook.url}`),
      shown,
      make("div", { class: "row" }, more, button("Look again", doing(() => deliveries(hook)))),
    );
    await next();
  }
  function line(hook, each) {
    const what = each.generation_id ? make("a", { href: `#follow/${each.generation_id}` }, each.event) : each.event;
    const again = button("Send again", doing(async () => {
      await send("POST", `/v1/webhooks/${hook.id}/deliveries/${each.id}/redeliver`);
      await deliveries(hook);
    }));
    const answer = [each.status, each.error].filter(Boolean).join(" ");
    return [moment(each.created_at), what, `${each.state}, tried ${each.attempts}×`, answer || null, again];
  }
  const address = make("input", { id: "hook-url", name: "url", type: "url", required: true });
  const form = make(
    "form",
    { class: "inline" },
    make("div", {}, make("label", { for: "hook-url" }, "An https address of yours"), address),
    make("button", { class: "small" }, "Add it"),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await doing(async () => {
      await reveal(await send("POST", "/v1/webhooks", { body: { url: address.value } }));
      form.reset();
    })();
  });
  place.replaceChildren(fresh, list, form, log);
  await load();
}

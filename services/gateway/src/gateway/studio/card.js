/** One generation on the table: its steps as they happen, what came of it, and what can be done with it. */

import { newKey, send } from "/studio/api.js";
import { find, make, show } from "/studio/dom.js";
import { follow } from "/studio/events.js";
import { amount, clock, explain, kindName, seconds, stageName, stateName } from "/studio/words.js";

const FINAL = ["completed", "failed", "declined", "cancelled"];
const LINK_SECONDS = 300;
const SHARED_SECONDS = 604_800;
/** As long as the gateway gives links. */

export const isFinal = (generation) => FINAL.includes(generation.status);

/**
 * A card, which follows its generation until that ends. `acts` are what others do: `again(generation)`,
 * `vary(generation, asset)`, `startFrom(asset)`, `made(generation)` for one that was tried again, `ended(generation)`.
 */
export class Card {
  constructor(generation, acts) {
    this.generation = generation;
    this.acts = acts;
    this.stage = null;
    this.leaving = new AbortController();
    this.build();
    this.step("Asked for", new Date(generation.created_at));
    this.render();
    if (!isFinal(generation)) this.run();
  }

  build() {
    const title = `title-${this.generation.id}`;
    this.title = make("h3", { id: title });
    this.state = make("strong", { role: "status", class: "state" });
    this.detail = make("span");
    this.bar = make("progress", { max: 100, "aria-label": "Progress" });
    this.steps = make("ol", { class: "steps", "aria-label": "Steps" });
    this.written = make("p", { class: "written", hidden: true });
    this.result = make("div", { class: "results" });
    this.problem = make("p", { class: "problem", role: "alert", hidden: true });
    this.buttons = make("div", { class: "row" });
    this.shared = make("div", { class: "shared", hidden: true });
    const away = make("button", { type: "button", class: "quiet small", onclick: () => this.remove() }, "Put away");
    this.element = make(
      "article",
      { "aria-labelledby": title, tabindex: "-1" },
      make("header", {}, this.title, away),
      make("p", { class: "prompt" }, this.generation.prompt),
      make("p", { class: "line" }, this.state, this.detail),
      this.bar,
      this.written,
      this.problem,
      this.result,
      this.buttons,
      this.shared,
      this.steps,
    );
  }

  async run() {
    try {
      for await (const { name, data } of follow(this.generation.id, this.leaving.signal)) {
        if (name === "progress") this.progress(data);
        else this.update(data);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  update(generation) {
    if (isFinal(this.generation)) return;
    this.generation = generation;
    this.render();
    if (isFinal(generation)) {
      this.leaving.abort();
      this.acts.ended(generation);
    }
  }

  progress({ stage, percent, is_estimate, remaining_seconds, position, text }) {
    if (stage !== this.stage) {
      this.stage = stage;
      this.step(stageName(stage, this.acts.providerOf(this.generation.model)), new Date());
    }
    if (text) this.write(text);
    if (percent) this.bar.value = percent;
    const before = position ? `, ${position} before it` : "";
    const about = percent ? `, ${is_estimate ? "about " : ""}${percent} %` : "";
    const rest = remaining_seconds ? `, ${remaining_seconds} s to go` : "";
    this.bar.setAttribute("aria-valuetext", `${stageName(stage)}${about}`);
    this.detail.textContent = `${before}${about}${rest}`;
    this.say();
  }

  /** As it is written; the outcome brings the whole text, also what was lost on the way. */
  write(text) {
    this.written.append(text);
    show(this.written);
  }

  step(name, moment) {
    const time = make("time", { datetime: moment.toISOString() }, clock(moment));
    this.steps.append(make("li", {}, time, make("span", {}, name)));
  }

  /** The state is spoken when it changes; the percentage beside it is not. */
  say() {
    const word = this.stage && !isFinal(this.generation) ? stageName(this.stage) : stateName(this.generation.status);
    if (this.state.textContent !== word) this.state.textContent = word;
  }

  render() {
    const { generation } = this;
    const size = generation.size ? `, ${generation.size}` : "";
    const length = generation.seconds ? `, ${generation.seconds} s` : "";
    const provider = this.acts.providerOf(generation.model);
    this.title.textContent = `${kindName(generation.kind)} by ${generation.model}${provider ? ` (${provider})` : ""}${size}${length}`;
    this.element.dataset.status = generation.status;
    show(this.bar, !isFinal(generation));
    if (isFinal(generation)) this.finish();
    this.say();
    this.buttons.replaceChildren(...this.choices());
  }

  finish() {
    const { generation } = this;
    const end = new Date(generation.completed_at ?? Date.now());
    this.detail.textContent = ` · ${amount(generation.cost)} · ${seconds(end - new Date(generation.created_at))}`;
    this.step(stateName(generation.status), end);
    if (generation.error) {
      this.problem.textContent = explain(generation.error);
      show(this.problem);
    }
    if (generation.text !== null) {
      this.written.textContent = generation.text;
      show(this.written);
    }
    this.result.replaceChildren(...generation.assets.map((asset) => pictured(asset, generation)));
  }

  choices() {
    const { generation, acts } = this;
    const button = (name, act) =>
      make("button", { type: "button", class: "quiet", onclick: (event) => this.doing(event.target, act) }, name);
    const way = make("a", { class: "button quiet", href: `#follow/${generation.id}` }, "Every step");
    if (!isFinal(generation)) return [button("Cancel", () => this.cancel()), way];
    const assets = generation.assets;
    const several = assets.length > 1;
    const downloads = assets.map((asset, index) =>
      button(several ? `Download ${index + 1}` : "Download", () => this.download(asset)),
    );
    const starts = assets
      .filter((asset) => asset.mime_type.startsWith("image/"))
      .map((asset, index) => button(several ? `Start from ${index + 1}` : "Start from it", () => acts.startFrom(asset)));
    const retry = generation.status === "completed" ? [] : [button("Try again", () => this.retry())];
    const first = assets.find((asset) => asset.mime_type.startsWith("image/"));
    const more = first && generation.kind === "image" ? [button("Variations", () => acts.vary(generation, first))] : [];
    const share = several || assets.length ? [button("Share", () => this.share())] : [];
    return [...retry, ...downloads, ...share, button("Make again", () => acts.again(generation)), ...more, ...starts, way];
  }

  async doing(button, act) {
    button.disabled = true;
    show(this.problem, Boolean(this.generation.error));
    try {
      await act();
    } catch (error) {
      this.fail(error);
    } finally {
      button.disabled = false;
    }
  }

  fail(error) {
    this.problem.textContent = explain(error);
    show(this.problem);
  }

  async cancel() {
    this.update(await send("POST", `/v1/generations/${this.generation.id}/cancel`));
  }

  async retry() {
    this.retryKey ??= newKey();
    this.acts.made(await send("POST", `/v1/generations/${this.generation.id}/retry`, { key: this.retryKey }));
  }

  async download(asset) {
    const body = { lifetime_seconds: LINK_SECONDS, download: true };
    const { items } = await send("POST", `/v1/generations/${this.generation.id}/links`, { body });
    const link = items.find((item) => item.asset_id === asset.id);
    make("a", { href: link.url, download: "" }).click();
  }

  /** Addresses that open without a token, to be copied; copied at once where the browser lets us. */
  async share() {
    const body = { lifetime_seconds: SHARED_SECONDS };
    const { items, expires_at } = await send("POST", `/v1/generations/${this.generation.id}/links`, { body });
    const links = items.map(({ url }) => url).join("\n");
    const isCopied = await navigator.clipboard?.writeText(links).then(() => true, () => false);
    const until = expires_at ? ` until ${new Date(expires_at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}` : "";
    const said = `${isCopied ? "Copied. " : ""}Whoever has the link can look${until}.`;
    const id = `link-${this.generation.id}`;
    this.shared.replaceChildren(
      make("label", { for: id }, "Link"),
      make("textarea", { id, readonly: true, rows: items.length }, links),
      make("p", { class: "hint", role: "status" }, said),
    );
    show(this.shared);
    this.shared.querySelector("textarea").select();
  }

  remove() {
    this.leaving.abort();
    this.element.remove();
    show(find("nothing"), !find("work").children.length);
  }
}

/** Pictures say their size before they are there, so that nothing jumps. */
function pictured(asset, { prompt }) {
  const { url, width, height, variants, mime_type } = asset;
  if (mime_type.startsWith("image/")) {
    const picture = make("img", { src: variants.full ?? url, alt: prompt, width, height });
    return make("figure", {}, make("a", { href: url, target: "_blank", rel: "noopener" }, picture));
  }
  if (mime_type.startsWith("video/")) {
    const video = { src: url, poster: variants.poster, width, height, controls: true, preload: "metadata" };
    return make("figure", {}, make("video", { ...video, "aria-label": prompt }));
  }
  return make("figure", {}, make("audio", { src: url, controls: true, preload: "metadata", "aria-label": prompt }));
}

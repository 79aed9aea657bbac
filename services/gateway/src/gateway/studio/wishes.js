/** What the form says, and what it can say with the chosen model. */

import { signal } from "@preact/signals";
import { models } from "/studio/state.js";

const KINDS = ["image", "video", "speech", "text"];
const VARIATIONS = 4;
const TYPES = { audio: "audio/*", video: "video/*" };
const NOTHING = { kind: "", model: "", prompt: "", size: "", seconds: "", count: "1", voice: "", role: "", start: null };

/** As the fields have it, numbers as text too; `start` is the asset to start from. */
export const wishes = signal(NOTHING);
/** Counts how often the form was filled in by something else: then the page goes there. */
export const filled = signal(0);

let writer = null;
const written = new Map();

export const kinds = () => KINDS.filter((kind) => models.value.some((model) => model.kind === kind));
export const offered = (kind) => models.value.filter((model) => model.kind === kind && model.state === "active");
/** What any model of a kind can start from: with a file, one that can is chosen. */
export const inputs = (kind) => offered(kind).flatMap((model) => model.inputs);
export const chosen = ({ model }) => models.value.find((each) => each.id === model);
export const typeOf = (role) => TYPES[role] ?? "image/*";

/** What an asset can be to a model: a sound is no picture. */
export function roles(model, asset) {
  const sort = asset?.mime_type.split("/")[0];
  return (model?.inputs ?? []).filter((role) => !asset || typeOf(role) === `${sort}/*`);
}

/** What a field says now; where the model decides what others can say, they are fitted. */
export function wish(name, value) {
  const now = { ...wishes.value, [name]: value };
  wishes.value = ["kind", "model"].includes(name) ? fitted(now) : now;
}

/** The models came: what is offered first is chosen, unless something is. */
export function begin() {
  const [first] = kinds();
  wishes.value = fitted({ ...wishes.value, kind: wishes.value.kind || first || "" });
}

/** What somebody wrote stays theirs when their session ends, and is there again when they come back. */
export function turnTo(person) {
  written.set(writer, wishes.value);
  writer = person;
  wishes.value = written.get(person) ?? NOTHING;
}

export function clear() {
  written.delete(writer);
  wishes.value = NOTHING;
}

/** Puts a former generation's wishes into the form, so that its price is seen before it is paid again. */
export function again({ kind, model, prompt, size, seconds, count }) {
  const { start, voice, role } = wishes.value;
  const text = (value) => String(value ?? "");
  wishes.value = fitted({ kind, model, prompt, size, seconds: text(seconds), count: text(count), voice, role, start });
  filled.value += 1;
}

/** The same words from what came of them, several at once: what they cost is seen before it is paid. */
export function vary(generation, asset) {
  again(generation);
  startFrom(asset);
  wishes.value = fitted({ ...wishes.value, count: String(VARIATIONS) });
}

/** What to start from: an asset, or nothing. Where the model cannot, one that can is chosen. */
export function startFrom(asset) {
  const now = { ...wishes.value, start: asset };
  if (asset && !roles(chosen(now), asset).length) {
    const found = models.value.filter((model) => model.state === "active" && roles(model, asset).length);
    const able = found.find((model) => model.kind === now.kind) ?? found[0];
    if (able) Object.assign(now, { kind: able.kind, model: able.id });
  }
  wishes.value = fitted(now);
}

/** The wishes, with what the model does not offer replaced by what it does. */
function fitted(now) {
  const possible = offered(now.kind);
  const model = possible.find(({ id }) => id === now.model) ?? possible[0];
  if (!model) return { ...now, model: "" };
  const longest = Math.max(0, ...model.seconds);
  const isLong = Number(now.seconds) >= 1 && Number(now.seconds) <= longest;
  const count = Math.min(Math.max(1, Number(now.count)), model.max_count);
  return {
    ...now,
    model: model.id,
    size: among(model.sizes, now.size, model.default_size),
    voice: among(model.voices, now.voice),
    seconds: isLong ? now.seconds : String(model.default_seconds ?? ""),
    count: String(count),
    role: among(roles(model, now.start), now.role),
  };
}

const among = (values, value, preferred = values[0]) => (values.includes(value) ? value : (preferred ?? ""));

/** The body of an order for `prompt`: only what the model has a say in. */
export function order(now, prompt) {
  const { kind, size, voice, role, start } = now;
  const model = chosen(now);
  const number = (value, isOffered) => (isOffered && value ? Number(value) : undefined);
  return {
    kind,
    model: now.model,
    prompt,
    size: model.sizes.length ? size : undefined,
    seconds: number(now.seconds, Math.max(0, ...model.seconds) > 0),
    count: number(now.count, model.max_count > 1),
    options: model.voices.length ? { voice } : undefined,
    inputs: start && role ? [{ role, asset_id: start.id }] : undefined,
  };
}

/** The form: what the chosen model offers, what it would cost, and the order itself. */

import { newKey, send } from "/studio/api.js";
import { find, offer, show } from "/studio/dom.js";
import { amount, explain, roleName } from "/studio/words.js";

const QUOTE_PAUSE_MILLISECONDS = 300;
const STAND_IN = "…";
const VARIATIONS = 4;
const TYPES = { audio: "audio/*", video: "video/*" };

const form = find("make");
const fields = form.elements;

let models = [];
let start = null;
let acts = null;
let asking = null;
let timer = null;
let order = null;

/** `made(generation)` hears of what was accepted, `failed(error)` of what was not. */
export function begin(given) {
  acts = given;
  form.addEventListener("submit", submit);
  form.addEventListener("input", changed);
  fields.prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  find("file").addEventListener("change", () => bring(find("file").files[0]));
  find("forget").addEventListener("click", () => startFrom(null));
  const zone = find("start");
  for (const name of ["dragover", "drop"]) form.addEventListener(name, (event) => event.preventDefault());
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    bring(event.dataTransfer.files[0]);
  });
}

export async function load() {
  models = (await send("GET", "/v1/models")).items;
  for (const radio of fields.kind) show(radio.parentElement, models.some((model) => model.kind === radio.value));
  const first = [...fields.kind].find((radio) => radio.checked || !radio.parentElement.hidden);
  if (first) first.checked = true;
  offerModels();
  fit();
}

/** Puts a former generation's wishes into the form, so that its price is seen before it is paid again. */
export function again({ kind, model, prompt, size, seconds, count }) {
  fields.kind.value = kind;
  offerModels();
  if (models.some((each) => each.id === model && each.state === "active")) fields.model.value = model;
  fields.prompt.value = prompt;
  fit();
  if (size) fields.size.value = size;
  if (seconds) fields.seconds.value = seconds;
  fields.count.value = count;
  price();
  fields.prompt.focus();
}

/** The same words from what came of them, several at once: what they cost is seen before it is paid. */
export function vary(generation, asset) {
  again(generation);
  startFrom(asset);
  fields.count.value = Math.min(VARIATIONS, chosen().max_count);
  price();
}

/** Who makes what a model is asked for. */
export const providerOf = (id) => models.find((model) => model.id === id)?.provider ?? null;

/** What to start from: an asset, or nothing. Where the model cannot, one that can is chosen. */
export function startFrom(asset) {
  start = asset;
  if (asset && !roles(chosen(), asset).length) {
    const offered = models.filter((model) => model.state === "active" && roles(model, asset).length);
    const able = offered.find((model) => model.kind === fields.kind.value) ?? offered[0];
    if (able) {
      fields.kind.value = able.kind;
      offerModels();
      fields.model.value = able.id;
    }
  }
  find("file").value = "";
  find("started").textContent = asset ? "You start from this." : "";
  const picture = asset?.variants.thumbnail ?? asset?.variants.poster;
  if (picture) find("started-picture").src = picture;
  show(find("started-picture"), Boolean(picture));
  show(find("forget"), Boolean(asset));
  fit();
  if (asset) find("start").scrollIntoView({ block: "center" });
}

async function bring(file) {
  if (!file) return;
  find("started").textContent = `${file.name} is being sent …`;
  const sent = new FormData();
  sent.append("file", file);
  try {
    const { asset } = await send("POST", "/v1/uploads", { form: sent, key: newKey() });
    startFrom(asset);
  } catch (error) {
    find("started").textContent = explain(error);
  }
}

const chosen = () => models.find((model) => model.id === fields.model.value);

/** What an asset can be to a model: a sound is no picture. */
function roles(model, asset) {
  const sort = asset?.mime_type.split("/")[0];
  return (model?.inputs ?? []).filter((role) => !asset || (TYPES[role] ?? "image/*") === `${sort}/*`);
}

function changed(event) {
  if (event.target.name === "kind") offerModels();
  if (["kind", "model"].includes(event.target.name)) fit();
  else price();
}

function offerModels() {
  const offered = models.filter((model) => model.kind === fields.kind.value && model.state === "active");
  const names = new Map(offered.map((model) => [model.id, `${model.id} (${model.provider})`]));
  offer(fields.model, [...names.keys()], offered[0]?.id, (id) => names.get(id));
}

/** Shows what the chosen model has a say in, and nothing else. */
function fit() {
  const model = chosen();
  if (!model) return;
  const field = (name, isShown) => {
    show(fields[name].parentElement, isShown);
    fields[name].disabled = !isShown;
  };
  offer(fields.size, model.sizes, model.default_size, (size) => size.replace("x", " × "));
  field("size", model.sizes.length > 0);
  offer(fields.voice, model.voices, model.voices[0]);
  field("voice", model.voices.length > 0);
  const longest = Math.max(0, ...model.seconds);
  fields.seconds.max = longest;
  if (!(Number(fields.seconds.value) >= 1 && Number(fields.seconds.value) <= longest)) {
    fields.seconds.value = model.default_seconds ?? "";
  }
  field("seconds", longest > 0);
  fields.count.max = model.max_count;
  fields.count.value = Math.min(Math.max(1, Number(fields.count.value)), model.max_count);
  field("count", model.max_count > 1);
  fields.prompt.maxLength = model.max_prompt_characters;
  const possible = roles(model, start);
  offer(fields.role, possible, possible[0], roleName);
  show(find("start"), model.inputs.length > 0);
  show(find("role-field"), possible.length > 1);
  fields.role.disabled = possible.length < 2;
  find("file").accept = [...new Set(model.inputs.map((role) => TYPES[role] ?? "image/*"))].join(",");
  price();
}

function wishes(prompt) {
  const number = (name) => (fields[name].disabled || !fields[name].value ? undefined : Number(fields[name].value));
  const role = fields.role.value;
  return {
    kind: fields.kind.value,
    model: fields.model.value,
    prompt,
    size: fields.size.disabled ? undefined : fields.size.value,
    seconds: number("seconds"),
    count: number("count"),
    options: fields.voice.disabled ? undefined : { voice: fields.voice.value },
    inputs: start && role ? [{ role, asset_id: start.id }] : undefined,
  };
}

function price() {
  clearTimeout(timer);
  asking?.abort();
  timer = setTimeout(ask, QUOTE_PAUSE_MILLISECONDS);
}

async function ask() {
  asking = new AbortController();
  const { signal } = asking;
  try {
    const body = wishes(fields.prompt.value.trim() ? fields.prompt.value : STAND_IN);
    const { quote, affordable, available } = await send("POST", "/v1/quotes", { body, signal });
    const short = affordable ? "" : `, and you have ${amount(available)}. Top up your credits, or ask for less`;
    find("price").textContent = `At most ${amount(quote)}${short}.`;
  } catch (error) {
    if (!signal.aborted) find("price").textContent = explain(error);
  }
}

/** One key for one wish: pressed again after a lost answer, it finds what was accepted, and is not paid twice. */
async function submit(event) {
  event.preventDefault();
  const body = wishes(fields.prompt.value);
  const said = JSON.stringify(body);
  if (order?.said !== said) order = { said, key: newKey() };
  find("submit").disabled = true;
  try {
    const generation = await send("POST", "/v1/generations", { body, key: order.key });
    order = null;
    acts.made(generation);
  } catch (error) {
    if (error.status < 500) order = null;
    acts.failed(error);
  } finally {
    find("submit").disabled = false;
  }
}

/** One generation on the table: its steps as they happen, what came of it, and what can be done with it. */

import { useEffect, useRef, useState } from "preact/hooks";
import { newKey, send } from "/studio/api.js";
import { follow } from "/studio/events.js";
import { providerOf } from "/studio/state.js";
import { called, heard, isFinal, made, putAway } from "/studio/table.js";
import { Button, Copyable, html, save } from "/studio/view.js";
import { again, startFrom, vary } from "/studio/wishes.js";
import { amount, clock, explain, kindName, moment, seconds, stageName, stateName } from "/studio/words.js";

const LINK_SECONDS = 300;
const SHARED_SECONDS = 604_800;
/** As long as the gateway gives links. */
const NUMBERS_PER_ATTEMPT = 1_000_000;
/** Progress is numbered anew from there on with each attempt. */
const NOT_STARTED = { progress: {}, stages: [], text: "", attempt: 0 };

export function Card({ generation }) {
  const { id } = generation;
  const [{ progress, stages, text }, setSeen] = useState(NOT_STARTED);
  const [problem, fail] = useState(null);
  const [shared, setShared] = useState(null);
  const element = useRef();
  useEffect(() => {
    if (isFinal(generation)) return undefined;
    const leaving = new AbortController();
    listen(id, leaving.signal, (data) => setSeen((seen) => advanced(seen, data))).catch(fail);
    return () => leaving.abort();
  }, [id]);
  useEffect(() => {
    if (called.value?.id === id) element.current.focus();
  }, [called.value]);
  const said = problem ?? generation.error;
  const written = generation.text ?? text;
  return html`
    <article ref=${element} aria-labelledby="title-${id}" tabindex="-1" data-status=${generation.status}>
      <header>
        <h3 id="title-${id}">${titleOf(generation)}</h3>
        <${Button} act=${() => putAway(id)}>Put away<//>
      </header>
      <p class="prompt">${generation.prompt}</p>
      <${State} generation=${generation} progress=${progress} />
      ${written && html`<p class="written">${written}</p>`}
      ${said && html`<p class="problem" role="alert">${explain(said)}</p>`}
      <div class="results">${generation.assets.map((asset) => html`<${Asset} key=${asset.id} asset=${asset} prompt=${generation.prompt} />`)}</div>
      <${Choices} generation=${generation} fail=${fail} share=${async () => setShared(await links(generation))} />
      ${shared && html`<${Copyable} id="link-${id}" label="Link" ...${shared} />`}
      <${Steps} generation=${generation} stages=${stages} />
    </article>
  `;
}

/** Until the outcome: `progressed` hears of progress, the table of the rest. */
async function listen(id, signal, progressed) {
  for await (const { name, data } of follow(id, signal)) {
    if (name === "progress") progressed(data);
    else heard(data);
  }
}

/** A text comes in pieces, anew with another attempt; the outcome brings the whole, also what was lost on the way. */
function advanced({ progress, stages, text, attempt }, data) {
  const isNew = data.stage !== progress.stage;
  const writing = data.text ? Math.floor(data.number / NUMBERS_PER_ATTEMPT) : attempt;
  return {
    progress: { ...data, percent: data.percent || (isNew ? null : progress.percent) },
    stages: isNew ? [...stages, { stage: data.stage, at: new Date() }] : stages,
    text: (writing === attempt ? text : "") + (data.text ?? ""),
    attempt: writing,
  };
}

function titleOf({ kind, model, size, seconds: length }) {
  const provider = providerOf(model);
  const parts = [`${kindName(kind)} by ${model}${provider ? ` (${provider})` : ""}`, size, length && `${length} s`];
  return parts.filter(Boolean).join(", ");
}

const endOf = ({ completed_at, created_at }) => new Date(completed_at ?? created_at);

/** The state is spoken when it changes; the percentage beside it is not. */
function State({ generation, progress: { stage, percent, is_estimate, remaining_seconds, position } }) {
  if (isFinal(generation)) {
    const took = seconds(endOf(generation) - new Date(generation.created_at));
    return html`<p class="line"><strong role="status" class="state">${stateName(generation.status)}</strong><span> · ${amount(generation.cost)} · ${took}</span></p>`;
  }
  const name = stage ? stageName(stage) : stateName(generation.status);
  const about = percent ? `, ${is_estimate ? "about " : ""}${percent} %` : "";
  const before = position ? `, ${position} before it` : "";
  const rest = remaining_seconds ? `, ${remaining_seconds} s to go` : "";
  return html`
    <p class="line"><strong role="status" class="state">${name}</strong><span>${before}${about}${rest}</span></p>
    <progress max="100" value=${percent ?? undefined} aria-label="Progress" aria-valuetext="${name}${about}"></progress>
  `;
}

function Steps({ generation, stages }) {
  const provider = providerOf(generation.model);
  const steps = [
    ["Asked for", new Date(generation.created_at)],
    ...stages.map(({ stage, at }) => [stageName(stage, provider), at]),
    ...(isFinal(generation) ? [[stateName(generation.status), endOf(generation)]] : []),
  ];
  return html`
    <ol class="steps" aria-label="Steps">
      ${steps.map(([name, at]) => html`<li><time datetime=${at.toISOString()}>${clock(at)}</time><span>${name}</span></li>`)}
    </ol>
  `;
}

/** What can be done now. */
function Choices({ generation, fail, share }) {
  const retryKey = useRef(null);
  const choice = (name, act) => html`<${Button} key=${name} look="quiet" act=${act} failed=${fail}>${name}<//>`;
  const way = html`<a class="button quiet" href="#follow/${generation.id}">Every step</a>`;
  if (!isFinal(generation)) {
    const cancel = async () => heard(await send("POST", `/v1/generations/${generation.id}/cancel`));
    return html`<div class="row">${choice("Cancel", cancel)}${way}</div>`;
  }
  const retry = async () => {
    retryKey.current ??= newKey();
    made(await send("POST", `/v1/generations/${generation.id}/retry`, { key: retryKey.current }));
  };
  const { assets } = generation;
  const pictures = assets.filter((asset) => asset.mime_type.startsWith("image/"));
  const numbered = (one, several, index) => (assets.length > 1 ? `${several} ${index + 1}` : one);
  return html`
    <div class="row">
      ${generation.status !== "completed" && choice("Try again", retry)}
      ${assets.map((asset, index) => choice(numbered("Download", "Download", index), () => download(generation, asset)))}
      ${assets.length > 0 && choice("Share", share)}
      ${choice("Make again", () => again(generation))}
      ${generation.kind === "image" && pictures.length > 0 && choice("Variations", () => vary(generation, pictures[0]))}
      ${pictures.map((asset, index) => choice(numbered("Start from it", "Start from", index), () => startFrom(asset)))}
      ${way}
    </div>
  `;
}

async function download(generation, asset) {
  const body = { lifetime_seconds: LINK_SECONDS, download: true };
  const { items } = await send("POST", `/v1/generations/${generation.id}/links`, { body });
  save(items.find((item) => item.asset_id === asset.id).url);
}

/** Addresses that open without a token, to be copied; copied at once where the browser lets us. */
async function links(generation) {
  const body = { lifetime_seconds: SHARED_SECONDS };
  const { items, expires_at } = await send("POST", `/v1/generations/${generation.id}/links`, { body });
  const value = items.map(({ url }) => url).join("\n");
  const isCopied = await navigator.clipboard?.writeText(value).then(() => true, () => false);
  const until = expires_at ? ` until ${moment(expires_at)}` : "";
  return { value, said: `${isCopied ? "Copied. " : ""}Whoever has the link can look${until}.` };
}

/** Pictures say their size before they are there, so that nothing jumps. */
function Asset({ asset: { url, width, height, variants, mime_type }, prompt }) {
  if (mime_type.startsWith("image/")) {
    return html`
      <figure>
        <a href=${url} target="_blank" rel="noopener"><img src=${variants.full ?? url} alt=${prompt} width=${width} height=${height} /></a>
      </figure>
    `;
  }
  if (mime_type.startsWith("video/")) {
    return html`
      <figure>
        <video src=${url} poster=${variants.poster} width=${width} height=${height} controls preload="metadata" aria-label=${prompt}></video>
      </figure>
    `;
  }
  return html`<figure><audio src=${url} controls preload="metadata" aria-label=${prompt}></audio></figure>`;
}

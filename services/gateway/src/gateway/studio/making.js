/** The form: what the chosen model offers, what it would cost, and the order itself. */

import { useEffect, useRef, useState } from "preact/hooks";
import { newKey, send } from "/studio/api.js";
import { complain, loadModels, models, told } from "/studio/state.js";
import { made } from "/studio/table.js";
import { Button, html, useTurn } from "/studio/view.js";
import { begin as chooseFirst, chosen, filled, inputs, kinds, offered, order, roles, startFrom, typeOf, wish, wishes } from "/studio/wishes.js";
import { amount, explain, kindName, roleName } from "/studio/words.js";

const QUOTE_PAUSE_MILLISECONDS = 300;
const STAND_IN = "…";

const typed = (event) => wish(event.currentTarget.name, event.currentTarget.value);

export function Making() {
  const form = useRef();
  const now = wishes.value;
  const model = chosen(now);
  const [isComing, setComing] = useState(false);
  const { isSending, submit } = useOrder(isComing);
  useEffect(() => {
    if (filled.value) form.current.elements.prompt.focus();
  }, [filled.value]);
  const keyed = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.current.requestSubmit();
  };
  // What is dropped beside the place for it must not be opened instead of the page.
  const stay = (event) => event.preventDefault();
  return html`
    <section class="composer" aria-labelledby="make-title">
      <h2 id="make-title">Make something</h2>
      <form id="make" ref=${form} onSubmit=${submit} onDragOver=${stay} onDrop=${stay}>
        <fieldset class="kinds">
          <legend>What</legend>
          ${kinds().map((kind) => html`
            <label key=${kind} for="kind-${kind}">
              <input id="kind-${kind}" type="radio" name="kind" value=${kind} checked=${now.kind === kind} onChange=${typed} />
              ${" "}${kindName(kind)}
            </label>
          `)}
        </fieldset>

        <label for="prompt">In your words</label>
        <textarea id="prompt" name="prompt" rows="3" required maxlength=${model?.max_prompt_characters}
          aria-describedby="prompt-hint" value=${now.prompt} onInput=${typed} onKeyDown=${keyed}></textarea>
        <p id="prompt-hint" class="hint">Control and Enter make it, too.</p>

        <${Fields} now=${now} model=${model} />
        ${inputs(now.kind).length > 0 && html`<${Start} now=${now} model=${model} setComing=${setComing} />`}

        <div class="row pay">
          <button id="submit" aria-disabled=${isSending || isComing}>Make it</button>
          <${Price} now=${now} />
        </div>
      </form>
    </section>
  `;
}

/**
 * One key for one wish: pressed again after a lost answer, it finds what was accepted, and is not paid twice. While a file
 * is on its way nothing is asked for: it would be paid for without that.
 */
function useOrder(isComing) {
  const last = useRef(null);
  const [isSending, begin] = useTurn(async () => {
    complain(null);
    // The models could not be had when the page came.
    if (!chosen(wishes.value)) return told(() => loadModels().then(chooseFirst));
    const body = order(wishes.value, wishes.value.prompt);
    const said = JSON.stringify(body);
    if (last.current?.said !== said) last.current = { said, key: newKey() };
    try {
      const generation = await send("POST", "/v1/generations", { body, key: last.current.key });
      last.current = null;
      made(generation);
    } catch (error) {
      if (error.status < 500) last.current = null;
      complain(error);
    }
  });
  const submit = (event) => {
    event.preventDefault();
    if (!isComing) begin();
  };
  return { isSending, submit };
}

/** What the chosen model has a say in, and nothing else. */
function Fields({ now, model }) {
  const choice = (name, label, options) => html`
    <div key=${name} class=${name === "model" ? "wide" : null}>
      <label for=${name}>${label}</label>
      <select id=${name} name=${name} value=${now[name]} onChange=${typed}>
        ${options.map(([value, said]) => html`<option key=${value} value=${value}>${said}</option>`)}
      </select>
    </div>
  `;
  const number = (name, label, most) => html`
    <div key=${name}>
      <label for=${name}>${label}</label>
      <input id=${name} name=${name} type="number" inputmode="numeric" min="1" max=${most} step="1" value=${now[name]} onInput=${typed} />
    </div>
  `;
  const longest = Math.max(0, ...(model?.seconds ?? []));
  const named = (values, nameOf = (value) => value) => values.map((value) => [value, nameOf(value)]);
  return html`
    <div class="fields">
      ${choice("model", "Model", offered(now.kind).map(({ id, provider }) => [id, `${id} (${provider})`]))}
      ${model?.sizes.length > 0 && choice("size", "Size", named(model.sizes, (size) => size.replace("x", " × ")))}
      ${longest > 0 && number("seconds", "Seconds", longest)}
      ${model?.max_count > 1 && number("count", "How many", model.max_count)}
      ${model?.voices.length > 0 && choice("voice", "Voice", named(model.voices))}
    </div>
  `;
}

/** Where a file of one's own is chosen or dropped, and what it is to the model. What is chosen last counts. */
function Start({ now, model, setComing }) {
  const [isOver, setOver] = useState(false);
  const [said, say] = useState("");
  const zone = useRef();
  const file = useRef();
  const { start } = now;
  const sending = useRef(null);
  useEffect(() => {
    file.current.value = "";
    if (start) zone.current.scrollIntoView({ block: "center" });
    return () => {
      sending.current?.abort();
      say("");
    };
  }, [start]);
  const bring = async (brought) => {
    if (!brought) return;
    sending.current?.abort();
    const mine = (sending.current = new AbortController());
    setComing(true);
    say(`${brought.name} is being sent …`);
    const form = new FormData();
    form.append("file", brought);
    try {
      const { asset } = await send("POST", "/v1/uploads", { form, key: newKey(), signal: mine.signal });
      if (!mine.signal.aborted) startFrom(asset);
    } catch (error) {
      if (!mine.signal.aborted) say(explain(error));
    }
    if (sending.current === mine) setComing(false);
  };
  const over = (event) => {
    event.preventDefault();
    setOver(true);
  };
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    bring(event.dataTransfer.files[0]);
  };
  const accepted = [...new Set(inputs(now.kind).map(typeOf))].join(",");
  const possible = roles(model, start);
  const picture = start?.variants.thumbnail ?? start?.variants.poster;
  const state = start && (possible.length ? "You start from this." : "This model cannot start from it: choose another one.");
  return html`
    <div id="start" ref=${zone} class="start ${isOver ? "over" : ""}" onDragOver=${over} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      <label for="file">Start from a file of yours: choose it, or drop it here</label>
      <input id="file" ref=${file} type="file" accept=${accepted} onChange=${(event) => bring(event.currentTarget.files[0])} />
      ${possible.length > 1 && html`
        <div>
          <label for="role">It is the</label>
          <select id="role" name="role" value=${now.role} onChange=${typed}>
            ${possible.map((role) => html`<option key=${role} value=${role}>${roleName(role)}</option>`)}
          </select>
        </div>
      `}
      <p id="started" role="status">${said || state}</p>
      ${picture && html`<img src=${picture} alt="What you start from" width="96" height="96" />`}
      ${start && html`<${Button} act=${() => startFrom(null)}>Start from nothing<//>`}
    </div>
  `;
}

/** What it costs at most, a moment after the wishes changed; the words do not matter, so that there are some. */
function Price({ now }) {
  const [said, say] = useState("");
  useEffect(() => {
    if (!chosen(now)) return undefined;
    const leaving = new AbortController();
    const ask = async () => {
      try {
        const body = order(now, now.prompt.trim() ? now.prompt : STAND_IN);
        const quoted = await send("POST", "/v1/quotes", { body, signal: leaving.signal });
        const { quote, affordable, available } = quoted;
        const short = quote > available
          ? `, and you have ${amount(available)}. Top up your credits, or ask for less`
          : ", and your plan leaves less today";
        say(`At most ${amount(quote)}${affordable ? "" : short}.`);
      } catch (error) {
        if (!leaving.signal.aborted) say(explain(error));
      }
    };
    const timer = setTimeout(ask, QUOTE_PAUSE_MILLISECONDS);
    return () => {
      clearTimeout(timer);
      leaving.abort();
    };
  }, [now, models.value]);
  return html`<output id="price" for="prompt model size seconds count" aria-live="polite">${said}</output>`;
}

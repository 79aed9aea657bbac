/** What views are made of: templates, and the parts that several have. Text goes in as text: nothing is read as HTML. */

import htm from "htm";
import { h } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { complain, told } from "/studio/state.js";

export const html = htm.bind(h);

/** Runs one thing at a time: whether it runs, and how to begin it. A button that was disabled would lose the focus. */
export function useTurn(act) {
  const [isBusy, setBusy] = useState(false);
  const running = useRef(false);
  const begin = async (given) => {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    try {
      await act(given);
    } finally {
      running.current = false;
      setBusy(false);
    }
  };
  return [isBusy, begin];
}

/** Runs what it means once at a time, and says what was wrong with it. */
export function Button({ act, look = "quiet small", label, failed = complain, children }) {
  const element = useRef();
  const [isBusy, press] = useTurn(() => {
    failed(null);
    return told(act, failed);
  });
  useLayoutEffect(() => () => leaveFocus(element.current), []);
  return html`
    <button ref=${element} type="button" class=${look} aria-label=${label} aria-disabled=${isBusy} onClick=${press}>${children}</button>
  `;
}

/** Where an element that goes has the focus, what it stood in gets it. */
function leaveFocus(element) {
  if (document.activeElement !== element) return;
  const around = [];
  for (let each = element.parentElement; each; each = each.parentElement) if (each.hasAttribute("tabindex")) around.push(each);
  queueMicrotask(() => around.find((each) => each.isConnected)?.focus({ preventScroll: true }));
}

/** A part of a page with a heading that names it. */
export function Part({ id, title, children }) {
  return html`<section aria-labelledby=${id} tabindex="-1"><h2 id=${id}>${title}</h2>${children}</section>`;
}

/** A table that is scrolled within itself where it is wider than the page; rows are `{ key, cells }`. */
export function Table({ label, heads, rows }) {
  return html`
    <div class="scroll" role="group" aria-label=${label} tabindex="0">
      <table>
        <thead><tr>${heads.map((head) => html`<th scope="col">${head}</th>`)}</tr></thead>
        <tbody>
          ${rows.map(({ key, cells }) => html`<tr key=${key}>${cells.map((cell) => html`<td>${cell ?? "–"}</td>`)}</tr>`)}
        </tbody>
      </table>
    </div>
  `;
}

/** Figures with their names, as `[name, value, isBad]`. */
export function Figures({ of }) {
  return html`
    <dl class="figures">
      ${of.map(([name, value, isBad]) => html`<div class=${isBad ? "bad" : null}><dt>${name}</dt><dd>${value ?? "not known"}</dd></div>`)}
    </dl>
  `;
}

export const Hint = ({ children }) => html`<p class="hint">${children}</p>`;

/** Something to be copied, selected as soon as it is there. */
export function Copyable({ id, label, value, said }) {
  const area = useRef();
  useEffect(() => area.current.select(), [value]);
  return html`
    <div class="shared">
      <label for=${id}>${label}</label>
      <textarea id=${id} ref=${area} readonly rows=${Math.max(2, value.split("\n").length)}>${value}</textarea>
      <p class="hint" role="status">${said}</p>
    </div>
  `;
}

/** A form with one line of fields; `act` gets the form's elements, and they are empty afterwards. */
export function Inline({ act, name, children }) {
  const [isBusy, begin] = useTurn((form) => {
    complain(null);
    return told(async () => {
      await act(form.elements);
      form.reset();
    });
  });
  const submit = (event) => {
    event.preventDefault();
    begin(event.currentTarget);
  };
  return html`
    <form class="inline" onSubmit=${submit}>${children}<button class="small" aria-disabled=${isBusy}>${name}</button></form>
  `;
}

/** What is asked for when the view comes and when `inputs` change, null before it is there; and how to ask anew. */
export function useAnswer(ask, inputs = []) {
  const [answer, setAnswer] = useState(null);
  const turn = useRef(0);
  const again = async () => {
    turn.current += 1;
    const mine = turn.current;
    const found = await ask();
    if (mine === turn.current) setAnswer(found);
  };
  useEffect(() => {
    told(again);
  }, inputs);
  return [answer, again];
}

/** Lets the browser save what an address has. */
export function save(href, name = "") {
  Object.assign(document.createElement("a"), { href, download: name }).click();
}

/** Elements, made and found. Text goes in as text: nothing here is ever read as HTML. */

export const find = (id) => document.getElementById(id);

/** An element with attributes (`on…` are listeners) and children; null children are left out. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function show(element, isShown = true) {
  element.hidden = !isShown;
}

/** Fills a select, and keeps what was chosen where it is still offered. */
export function offer(select, values, preferred, nameOf = (value) => value) {
  const former = values.includes(select.value) ? select.value : preferred;
  select.replaceChildren(...values.map((value) => make("option", { value }, nameOf(value))));
  if (values.includes(former)) select.value = former;
}

/** An element of a picture. */
export function draw(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

export const button = (name, act, look = "quiet small") => make("button", { type: "button", class: look, onclick: act }, name);

/** A part of a page with a heading that names it. */
export function part(id, title, ...children) {
  return make("section", { "aria-labelledby": id }, make("h2", { id }, title), ...children);
}

/** A table that is scrolled within itself where it is wider than the page; cells are texts or elements. */
export function table(label, heads, rows) {
  return make(
    "div",
    { class: "scroll", role: "group", "aria-label": label, tabindex: "0" },
    make(
      "table",
      {},
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell ?? "–"))))),
    ),
  );
}

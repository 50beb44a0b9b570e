// Elements without markup in strings: texts of users can never become tags.

const SVG = "http://www.w3.org/2000/svg";

// h("p", { class: "hint", onclick: f }, "text", child): false and null attributes are left out.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

export const show = (element, ...children) =>
  element.replaceChildren(...children.flat().filter(Boolean));

// A box for an error, read out at once; the service's own words.
export function errorBox(error) {
  const detail = [error.code, error.param && `in ${error.param}`].filter(Boolean).join(", ");
  return h("div", { class: "error", role: "alert" },
    h("strong", {}, error.title ?? "That did not work"),
    h("span", { dir: "auto" }, error.message),
    detail ? h("small", {}, detail) : null);
}

export function empty(title, ...children) {
  return h("div", { class: "empty" }, h("h2", {}, title), children);
}

// Hand `content` to the reader as a file.
export function download(name, content, type = "text/tab-separated-values;charset=utf-8") {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const waiting = new Map();

// Run `work` while `button` shows that it is busy. Of what is pressed meanwhile, the last runs next.
export async function busy(button, work) {
  const isBusy = waiting.has(button);
  waiting.set(button, work);
  if (isBusy) return;
  button.setAttribute("aria-busy", "true");
  try {
    for (let next = work; next; next = waiting.get(button)) {
      waiting.set(button, null);
      await next();
    }
  } finally {
    waiting.delete(button);
    button.removeAttribute("aria-busy");
  }
}

// What the browser keeps for the page; nothing, where its owner forbids that.
export function recall(key, store = "localStorage") {
  try {
    return window[store].getItem(key);
  } catch {
    return null;
  }
}

export function remember(key, value, store = "localStorage") {
  try {
    window[store].setItem(key, value);
  } catch {
    // Then it holds until the page is left.
  }
}

// One-click examples; each fills its tab's form and runs it.
export function examples(holder, list, use) {
  show(holder, h("span", { class: "label" }, "Try"), list.map((example) =>
    h("button", { type: "button", onclick: () => use(example) }, example.title)));
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export const twoDigits = (value) => value.toFixed(2).replace("-0.00", "0.00");

// Call `draw` whenever the theme changes, for as long as `element` is on the page.
export function onThemeChange(element, draw) {
  const listener = () => {
    if (element.isConnected) draw();
    else document.removeEventListener("themechange", listener);
  };
  document.addEventListener("themechange", listener);
}

// The frame: tabs, theme, shortcuts, and which bundle is served.

import { call, useKey, whenKeyWanted } from "./api.js";
import { byId, errorBox, plural, recall, remember } from "./dom.js";

// A tab's module is loaded when it is first opened.
const TABS = {
  compare: () => import("./compare.js"),
  align: () => import("./align.js"),
  search: () => import("./search.js"),
  map: () => import("./map.js"),
  jobs: () => import("./jobs.js"),
};
const NAMES = Object.keys(TABS);
const opened = new Map();

function wanted() {
  const name = location.hash.slice(1).split("/")[0];
  return NAMES.includes(name) ? name : NAMES[0];
}

async function open(name) {
  for (const each of NAMES) {
    const isOpen = each === name;
    const tab = byId(`tab-${each}`);
    tab.setAttribute("aria-selected", isOpen);
    tab.tabIndex = isOpen ? 0 : -1;
    byId(`panel-${each}`).hidden = !isOpen;
  }
  byId(`tab-${name}`).scrollIntoView({ block: "nearest", inline: "nearest" });
  document.title = `${byId(`tab-${name}`).textContent} · Polygrain`;
  byId(`panel-${name}`).setAttribute("aria-busy", "true");
  try {
    if (!opened.has(name)) opened.set(name, TABS[name]().then((module) => module.start()));
    const panel = await opened.get(name);
    if (wanted() === name) await panel?.open?.();
  } catch (error) {
    opened.delete(name); // a module that did not load may load the next time
    byId("main").append(errorBox(error));
  } finally {
    byId(`panel-${name}`).removeAttribute("aria-busy");
  }
}

function go(name) {
  if (wanted() === name) open(name);
  else location.hash = name;
}

function moveBetweenTabs(event) {
  const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -NAMES.length, End: NAMES.length };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const now = NAMES.indexOf(wanted());
  const moved = now + steps[event.key];
  const next = Math.abs(steps[event.key]) > 1
    ? Math.max(0, Math.min(NAMES.length - 1, moved))
    : (moved + NAMES.length) % NAMES.length;
  go(NAMES[next]);
  byId(`tab-${NAMES[next]}`).focus();
}

// Light and dark: the system's, until the reader chooses.
const dark = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = recall("polygrain-theme");

function paint() {
  const theme = chosenTheme ?? (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  const button = byId("theme");
  button.textContent = theme === "dark" ? "Light" : "Dark";
  button.setAttribute("aria-label", `Show in ${theme === "dark" ? "light" : "dark"} colours`);
  document.dispatchEvent(new Event("themechange"));
}

function switchTheme() {
  const now = document.documentElement.dataset.theme;
  chosenTheme = now === "dark" ? "light" : "dark";
  remember("polygrain-theme", chosenTheme);
  paint();
}

// Shortcuts. Single keys can be switched off, for those who speak to their computer.
function shortcut(event) {
  const panel = byId(`panel-${wanted()}`);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const form = event.target.closest?.("form") ?? panel.querySelector("form");
    if (form) { event.preventDefault(); form.requestSubmit(); }
    return;
  }
  const isWriting = event.target.closest?.("input, textarea, select, dialog");
  const isChord = event.ctrlKey || event.metaKey || event.altKey;
  if (isWriting || isChord || recall("polygrain-keys") === "off") return;
  if (NAMES[Number(event.key) - 1]) {
    go(NAMES[Number(event.key) - 1]);
  } else if (event.key === "/") {
    panel.querySelector("textarea, input:not([type=file]), select")?.focus();
  } else if (event.key === "t") {
    switchTheme();
  } else if (event.key === "?") {
    byId("help").showModal();
  } else {
    return;
  }
  event.preventDefault();
}

async function tellWhatIsServed() {
  try {
    const info = await call("GET", "/info");
    byId("served").textContent =
      `${info.name} ${info.version} · ${plural(info.languages.length, "language")} · ${info.dimensions} dimensions`;
  } catch (error) {
    byId("served").textContent = error.message;
  }
}

function begin() {
  dark.addEventListener("change", paint);
  paint();
  byId("theme").addEventListener("click", switchTheme);
  const help = byId("help");
  byId("help-open").addEventListener("click", () => help.showModal());
  byId("help-close").addEventListener("click", () => help.close());
  byId("keys-on").checked = recall("polygrain-keys") !== "off";
  byId("keys-on").addEventListener("change", (event) =>
    remember("polygrain-keys", event.target.checked ? "on" : "off"));
  document.addEventListener("keydown", shortcut);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address after # is the tab's
    byId("main").focus();
  });
  for (const name of NAMES) byId(`tab-${name}`).addEventListener("click", () => go(name));
  document.querySelector(".tabs").addEventListener("keydown", moveBetweenTabs);
  addEventListener("hashchange", () => open(wanted()));
  whenKeyWanted(() => { byId("key-form").hidden = false; });
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(byId("key").value.trim());
    location.reload();
  });
  open(wanted());
  tellWhatIsServed();
}

begin();

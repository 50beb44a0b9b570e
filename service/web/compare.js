// Compare: texts in any languages, how each is read, and how alike they are.

import { call } from "./api.js";
import { busy, byId, empty, errorBox, examples, h, plural, show } from "./dom.js";
import { COMPARE } from "./examples.js";
import { closest, heatMap, legend, showPair } from "./heat.js";
import { followLanguage, short, written } from "./languages.js";

const list = () => byId("compare-texts");
const fields = () => [...list().querySelectorAll("textarea")];

function addText(text = "", before = null) {
  const field = h("textarea", {
    rows: 1, spellcheck: "false", ...written(text),
    oninput: () => { grow(field); mark(field); },
    onkeydown: (event) => typed(event, field),
    onpaste: (event) => pasted(event, field),
  });
  field.value = text;
  const row = h("li", {}, h("div", { class: "field-row" }, field,
    h("button", {
      type: "button", class: "quiet remove", "aria-label": "Remove this text", title: "Remove",
      onclick: () => remove(row),
    }, "×")), h("p", { class: "facts muted" }));
  list().insertBefore(row, before);
  grow(field);
  number();
  return field;
}

function number() {
  fields().forEach((field, index) => field.setAttribute("aria-label", `Text ${index + 1}`));
}

function grow(field) {
  field.style.height = "auto";
  if (field.scrollHeight) field.style.height = `${field.scrollHeight + 2}px`;
}

function mark(field) {
  followLanguage(field);
  field.removeAttribute("aria-invalid");
}

function remove(row) {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  if (!fields().length) addText();
  number();
  (next?.querySelector("textarea") ?? fields()[0]).focus();
}

function typed(event, field) {
  const row = field.closest("li");
  if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.isComposing) {
    event.preventDefault();
    addText("", row.nextSibling).focus();
  } else if (event.key === "Backspace" && !field.value && fields().length > 1) {
    event.preventDefault();
    remove(row);
  }
}

function pasted(event, field) {
  const texts = event.clipboardData.getData("text").split(/\r?\n/u).map((t) => t.trim()).filter(Boolean);
  if (texts.length < 2 || field.value.trim()) return;
  event.preventDefault();
  const row = field.closest("li");
  for (const text of texts) addText(text, row);
  row.remove();
  number();
  fields().at(-1).focus();
  const join = h("button", { type: "button", class: "quiet", onclick: () => {
    fill([...fields().map((f) => f.value).filter((t) => !texts.includes(t)), texts.join("\n")]);
    show(byId("compare-status"), "Pasted as one text.");
  } }, "Make it one text");
  show(byId("compare-status"), `${plural(texts.length, "text")} pasted, one a line. `, join);
}

function fill(texts) {
  list().replaceChildren();
  for (const text of texts) addText(text);
}

// A heat map of more is no picture any more.
const MOST_TEXTS = 100;

async function compare() {
  const filled = fields().filter((field) => field.value.trim());
  if (filled.length < 2) {
    show(byId("compare-status"), "Write two texts or more, then compare.");
    (fields().find((field) => !field.value.trim()) ?? addText()).focus();
    return;
  }
  if (filled.length > MOST_TEXTS) {
    show(byId("compare-status"), `These are ${filled.length} texts; the heat map takes ${MOST_TEXTS}. The API takes more.`);
    return;
  }
  for (const field of fields()) if (!field.value.trim() && fields().length > 2) field.closest("li").remove();
  number();
  const texts = filled.map((field) => field.value);
  const granularity = byId("compare-granularity").value;
  show(byId("compare-status"), "Comparing…");
  try {
    const [similarity, embedded] = await Promise.all([
      call("POST", "/similarity", { sources: texts, targets: texts, granularity }),
      call("POST", "/embed", { inputs: texts, granularity, encoding: "binary" }),
    ]);
    tell(filled, embedded.data);
    draw(texts, similarity);
  } catch (error) {
    const index = Number(/\[(\d+)\]/u.exec(error.param ?? "")?.[1]);
    filled[index]?.setAttribute("aria-invalid", "true");
    byId("compare-status").replaceChildren();
    show(byId("compare-result"), errorBox(error));
  }
}

// Under each text: what it is taken for, and its length as the model counts.
function tell(filled, data) {
  filled.forEach((field, index) => {
    const { granularity, adapter, tokens, truncated } = data[index];
    show(field.closest("li").querySelector(".facts"),
      h("span", { class: "badge" }, granularity),
      adapter === granularity ? null : ` adapter ${adapter}`,
      ` ${plural(tokens, "token")}`, truncated ? " (its end was left out)" : null);
  });
}

function draw(texts, similarity) {
  const { scores } = similarity;
  const best = closest(scores, 3);
  show(byId("compare-status"), `${plural(texts.length, "text")} compared. Closest: `,
    `${best[0].i + 1} and ${best[0].j + 1}, cosine ${best[0].score.toFixed(2)}.`);
  const detail = h("div", { class: "picked" });
  const pick = (i, j) => showPair(detail, texts, i, j, scores[i][j]);
  pick(best[0].i, best[0].j);
  const adapter = similarity.adapter
    ? `All were read by the ${similarity.adapter} adapter, so that their vectors are comparable.`
    : "Each was read by its own adapter; their vectors are comparable.";
  show(byId("compare-result"), h("div", { class: "card" },
    h("div", { class: "row" }, h("h2", {}, "How alike"), legend()),
    heatMap(texts, scores, pick), detail,
    h("h3", {}, "Closest pairs"),
    h("ol", { class: "closest" }, best.map(({ i, j, score }) => h("li", {},
      h("span", { class: "number" }, score.toFixed(2)),
      h("bdi", written(texts[i]), short(texts[i], 70)), h("bdi", written(texts[j]), short(texts[j], 70))))),
    h("p", { class: "hint" }, adapter, " A cosine is 1 for the same direction and about 0 for unrelated texts. ",
      "It ranks; it is no probability.")));
}

export function start() {
  fill(["", ""]);
  show(byId("compare-result"), empty("Nothing compared yet",
    h("p", {}, "Take an example above, or write two texts of your own. Each text shows what it is taken for, ",
      "a phrase, a sentence or a paragraph, and every pair its likeness.")));
  const run = () => busy(byId("compare-form").querySelector(".primary"), compare);
  examples(byId("compare-examples"), COMPARE, ({ texts }) => { fill(texts); return run(); });
  byId("compare-add").addEventListener("click", () => addText().focus());
  byId("compare-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  // A narrower page needs taller fields.
  new ResizeObserver(() => fields().forEach(grow)).observe(list());
}

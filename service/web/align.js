// Align: two texts side by side, the links between their sentences, and between their words.

import { call } from "./api.js";
import { busy, byId, download, empty, errorBox, examples, h, plural, show } from "./dom.js";
import { ALIGN } from "./examples.js";
import { linkedColumns } from "./links.js";
import { followLanguage, lines } from "./languages.js";
import { wordsView } from "./words.js";

const SIDES = ["source", "target"];

// What is sent: a whole text, which the service cuts into sentences, or its lines.
const cut = (text) => (byId("align-cut").value === "lines" ? lines(text) : text);

// The sentences of either side as texts, whoever cut them; offsets count characters, not UTF-16.
function cutAs(answer, side, sent) {
  const characters = [...sent];
  const spans = answer.sentences?.[side];
  return spans ? spans.map(([start, end]) => characters.slice(start, end).join("")) : sent;
}

async function align() {
  const sent = Object.fromEntries(SIDES.map((side) => [side, cut(byId(`align-${side}`).value)]));
  for (const side of SIDES) byId(`align-${side}`).removeAttribute("aria-invalid");
  const missing = SIDES.find((side) => !byId(`align-${side}`).value.trim());
  if (missing) {
    show(byId("align-status"), "Write both texts, then align.");
    byId(`align-${missing}`).focus();
    return;
  }
  show(byId("align-status"), "Aligning…");
  try {
    const answer = await call("POST", "/align", { ...sent, level: byId("align-level").value });
    draw(Object.fromEntries(SIDES.map((side) => [side, cutAs(answer, side, sent[side])])), answer);
  } catch (error) {
    const side = /^(source|target)/u.exec(error.param ?? "")?.[1];
    if (side) byId(`align-${side}`).setAttribute("aria-invalid", "true");
    byId("align-status").replaceChildren();
    show(byId("align-result"), errorBox(error));
  }
}

function draw(texts, answer) {
  const { pairs, unaligned } = answer;
  const alone = unaligned.source.length + unaligned.target.length;
  show(byId("align-status"), `${plural(pairs.length, "link")} found`,
    alone ? `, ${plural(alone, "sentence")} without a partner.` : ".");
  const detail = h("div", { class: "words-box" });
  const words = wordsView(detail, texts);
  const columns = linkedColumns(texts, pairs, words.show);
  const inOrder = [...pairs].sort((a, b) => a.source[0] - b.source[0] || a.target[0] - b.target[0]);
  show(byId("align-result"), h("div", { class: "card" },
    h("div", { class: "row" }, h("h2", {}, "Links"),
      h("button", { type: "button", class: "to-end", onclick: () => save(texts, inOrder) }, "Download TSV")),
    columns.element, detail,
    h("details", {}, h("summary", {}, "As a table, with scores"), table(texts, inOrder))));
  columns.drawLinks();
  if (inOrder.length) columns.choose(pairs.indexOf(inOrder[0]));
}

const COLUMNS = ["Source", "Target", "Score", "Cosine", "Probability"];

const figure = (value) => (value === null ? "" : value.toFixed(3));

const numbers = (indices) => indices.map((index) => index + 1).join(", ");

function table(texts, pairs) {
  const side = (name, pair) => h("td", {}, pair[name].map((index) =>
    h("p", {}, h("span", { class: "ordinal" }, `${index + 1} `), h("bdi", {}, texts[name][index]))));
  return h("div", { class: "scroll", role: "region", "aria-label": "Links as a table", tabindex: "0" },
    h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, pairs.map((pair) => h("tr", {}, side("source", pair), side("target", pair),
        [pair.score, pair.cosine, pair.probability].map((value) =>
          h("td", { class: "number" }, value === null ? "not calibrated" : figure(value))))))));
}

function save(texts, pairs) {
  const clean = (text) => text.replace(/[\t\r\n]+/gu, " ");
  const rows = pairs.map((pair) => [
    numbers(pair.source), numbers(pair.target), figure(pair.score), figure(pair.cosine), figure(pair.probability),
    ...SIDES.map((side) => clean(pair[side].map((index) => texts[side][index]).join(" "))),
  ]);
  const head = ["source_sentences", "target_sentences", "score", "cosine", "probability", "source", "target"];
  download("alignment.tsv", [head, ...rows].map((row) => `${row.join("\t")}\n`).join(""));
}

export function start() {
  show(byId("align-result"), empty("Nothing aligned yet",
    h("p", {}, "Take an example above, or paste a text and its translation. Point at a sentence to see its partner ",
      "and its words.")));
  const run = () => busy(byId("align-form").querySelector(".primary"), align);
  examples(byId("align-examples"), ALIGN, ({ source, target }) => {
    for (const [side, text] of Object.entries({ source, target })) {
      byId(`align-${side}`).value = text;
      followLanguage(byId(`align-${side}`));
    }
    return run();
  });
  for (const side of SIDES) {
    byId(`align-${side}`).addEventListener("input", (event) => followLanguage(event.target));
  }
  byId("align-form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
}

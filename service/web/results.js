// What a search found: texts with their language and score, and the sentence that answers best.

import { call } from "./api.js";
import { h, plural } from "./dom.js";
import { languageName, sentences, written } from "./languages.js";

// Sentences compared with the query at most, all results together.
const MOST_SENTENCES = 400;

export function resultList(hits, query) {
  const texts = hits.map((hit) => h("p", { class: "passage", ...written(hit.text ?? "", languageOf(hit)) }, hit.text ?? ""));
  markBest(texts, hits, query);
  return h("ol", { class: "hits" }, hits.map((hit, index) => h("li", { class: "card" },
    h("div", { class: "row" },
      h("span", { class: "badge" }, languageName(hit.language)),
      hit.granularity ? h("span", { class: "muted" }, hit.granularity) : null,
      meter(hit.score)),
    texts[index],
    h("p", { class: "muted about" }, h("bdi", {}, hit.id), metadata(hit.metadata)))));
}

// "und", undetermined, says nothing of the fonts.
const languageOf = (hit) => (hit.language === "und" ? null : hit.language);

function meter(score) {
  const bar = h("span", { class: "bar-of" }, h("span", {}));
  bar.firstChild.style.width = `${Math.max(0, Math.min(1, score)) * 100}%`;
  return h("span", { class: "meter" }, bar, h("span", { class: "number" }, score.toFixed(3)));
}

function metadata(values) {
  const entries = Object.entries(values ?? {});
  const said = entries.slice(0, 6).map(([name, value]) =>
    h("span", {}, ` · ${name}: `, h("bdi", {}, typeof value === "string" ? value : JSON.stringify(value))));
  return entries.length > 6 ? [...said, ` · ${plural(entries.length - 6, "more field")}`] : said;
}

// In each passage of several sentences, mark the one nearest to the query. Results are there
// without it, so what goes wrong here is left unmarked.
async function markBest(texts, hits, query) {
  const cut = hits.map((hit) => sentences(hit.text ?? ""));
  const many = cut.map((list, index) => ({ list, index })).filter(({ list }) => list.length > 1);
  const all = many.flatMap(({ list }) => list);
  if (!all.length || all.length > MOST_SENTENCES) return;
  let scores;
  try {
    ({ scores: [scores] } = await call("POST", "/similarity", { sources: [query], targets: all, granularity: "sentence" }));
  } catch {
    return;
  }
  let start = 0;
  for (const { list, index } of many) {
    const own = scores.slice(start, start + list.length);
    start += list.length;
    mark(texts[index], list[own.indexOf(Math.max(...own))]);
  }
}

function mark(passage, sentence) {
  const text = passage.textContent;
  const at = text.indexOf(sentence);
  if (at < 0) return;
  passage.replaceChildren(text.slice(0, at), h("mark", {}, sentence), text.slice(at + sentence.length));
}

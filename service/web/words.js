// The words of one pair of sentences and the links between them.

import { h, show } from "./dom.js";

export function wordsView(holder, texts, hasWords) {
  function figures(pair) {
    const probability = pair.probability === null ? null : ["probability", pair.probability];
    return [probability, ["cosine", pair.cosine], ["score", pair.score]].filter(Boolean).map(([name, value]) =>
      h("span", { class: "muted" }, `${name} `, h("b", { class: "number" }, value.toFixed(2)), " "));
  }

  function showPair(pair) {
    show(holder, h("div", { class: "row" }, figures(pair)));
  }

  return { show: showPair };
}

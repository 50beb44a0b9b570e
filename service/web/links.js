// Two columns of sentences, and curves between those that belong together.

import { h, show, svg } from "./dom.js";
import { written } from "./languages.js";

// `chosen(pair)` is called with the pair under the pointer or the keyboard.
export function linkedColumns(texts, pairs, chosen) {
  const curves = svg("svg", { class: "curves", "aria-hidden": "true" });
  const column = (side) => texts[side].map((text, index) => sentence(side, text, index));
  const items = { source: column("source"), target: column("target") };
  const side = (name) => h("ol", { class: "side", "aria-label": `Sentences of the ${name}` }, items[name]);
  const element = h("div", { class: "linked" }, side("source"), h("div", { class: "gap" }, curves), side("target"));

  function pairOf(name, index) {
    return pairs.findIndex((pair) => pair[name].includes(index));
  }

  function sentence(name, text, index) {
    const pair = pairs[pairOf(name, index)];
    const other = name === "source" ? "target" : "source";
    const partner = pair ? `belongs to ${pair[other].map((i) => i + 1).join(" and ")}` : "has no partner";
    const choice = () => choose(pairOf(name, index));
    return h("li", {}, h("button", {
      type: "button", class: pair ? "sentence" : "sentence alone", onclick: choice, onfocus: choice,
      onpointerenter: choice,
    }, h("span", { class: "ordinal" }, String(index + 1)), h("span", written(text), text),
    h("span", { class: "unseen" }, `, ${partner}`)));
  }

  function choose(number) {
    const pair = pairs[number];
    for (const name of ["source", "target"]) {
      items[name].forEach((item, index) => item.classList.toggle("on", Boolean(pair?.[name].includes(index))));
    }
    curves.querySelectorAll("path").forEach((path) =>
      path.classList.toggle("on", path.dataset.pair === String(number)));
    if (pair) chosen(pair);
  }

  // Lines start and end at the first line of a sentence, wherever wrapping has put it.
  function drawLinks() {
    const width = curves.clientWidth;
    const top = (item) => item.offsetTop + 21;
    const strongest = Math.max(...pairs.map((pair) => pair.cosine), 0.01);
    show(curves, pairs.flatMap((pair, number) => pair.source.flatMap((i) => pair.target.map((j) => {
      const [a, b] = [top(items.source[i]), top(items.target[j])];
      return svg("path", {
        d: `M0 ${a} C${width / 2} ${a} ${width / 2} ${b} ${width} ${b}`,
        "data-pair": number,
        opacity: (0.3 + 0.5 * Math.max(0, pair.cosine / strongest)).toFixed(2),
        class: items.source[i].classList.contains("on") ? "on" : null,
      });
    }))));
  }

  new ResizeObserver(drawLinks).observe(element);
  return { element, drawLinks, choose };
}

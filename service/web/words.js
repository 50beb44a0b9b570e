// The words of one pair of sentences and the links between them, with what each link is worth.

import { call } from "./api.js";
import { errorBox, h, show, svg } from "./dom.js";
import { written } from "./languages.js";

// How long the pointer rests on a pair before its words are asked for.
const REST_MS = 120;

// What shows a pair inside `holder`; the words of a pair are asked for once.
export function wordsView(holder, texts) {
  const known = new Map();
  let shown = null;
  let rest = 0;

  const whole = (pair, side) => pair[side].map((index) => texts[side][index]).join(" ");

  function wordsOf(pair) {
    if (!known.has(pair)) {
      const [source, target] = [[whole(pair, "source")], [whole(pair, "target")]];
      known.set(pair, call("POST", "/align", { source, target, level: "word" }).then(({ pairs }) => pairs[0]));
    }
    return known.get(pair);
  }

  async function showPair(pair) {
    if (pair === shown) return;
    shown = pair;
    show(holder, h("div", { class: "row" }, figures(pair)));
    clearTimeout(rest);
    await new Promise((resolve) => { rest = setTimeout(resolve, holder.dataset.drawn ? REST_MS : 0); });
    try {
      const aligned = await wordsOf(pair);
      if (pair !== shown) return;
      holder.dataset.drawn = "yes";
      const view = linkedWords([...whole(pair, "source")], [...whole(pair, "target")], aligned);
      show(holder, h("div", { class: "row" }, figures(pair)), view.element, view.said);
      view.drawLinks();
    } catch (error) {
      known.delete(pair);
      if (pair === shown) show(holder, h("div", { class: "row" }, figures(pair)), errorBox(error));
    }
  }

  return { show: showPair };
}

function figures(pair) {
  const values = [["probability", pair.probability], ["cosine", pair.cosine], ["score", pair.score]];
  return values.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) =>
    h("span", { class: "muted" }, `${name} `, h("b", { class: "number" }, value.toFixed(2))));
}

const worth = (link) => (link.probability === null
  ? `cosine ${link.score.toFixed(2)}`
  : `probability ${link.probability.toFixed(2)}`);

// Two lines of words, as characters (offsets count those), and curves from word to word.
function linkedWords(source, target, { words, links }) {
  const said = h("p", { class: "muted said", role: "status" }, `${links.length} linked words. Point at one, or walk with the arrows.`);
  let on = []; // the links of the word that is chosen
  const curves = svg("svg", { class: "word-curves", "aria-hidden": "true" });
  const sides = { source: line("source", source), target: line("target", target) };
  const element = h("div", { class: "words" }, sides.source.element, sides.target.element, curves);

  function line(side, characters) {
    const other = side === "source" ? "target" : "source";
    const text = characters.join("");
    const own = words[side].map(([start, end], index) => {
      const partners = links.filter((link) => link[side] === index);
      const partner = (link) => (side === "source" ? target : source).slice(...words[other][link[other]]).join("");
      const meaning = partners.map((link) => `${partner(link)}, ${worth(link)}`).join("; ");
      return h("span", {
        class: partners.length ? "word" : "word lone", tabindex: index ? -1 : 0, role: "option", "aria-selected": "false",
        "aria-label": `${characters.slice(start, end).join("")}: ${meaning || "no link"}`,
        onpointerenter: () => choose(side, index), onfocus: () => choose(side, index),
      }, characters.slice(start, end).join(""));
    });
    const parts = [];
    let from = 0;
    words[side].forEach(([start, end], index) => {
      if (start > from) parts.push(h("span", { "aria-hidden": "true" }, characters.slice(from, start).join("")));
      parts.push(own[index]);
      from = end;
    });
    if (from < characters.length) parts.push(h("span", { "aria-hidden": "true" }, characters.slice(from).join("")));
    const box = h("div", {
      class: "word-line", role: "listbox", "aria-label": `Words of the ${side}`, "aria-orientation": "horizontal",
      ...written(text), onkeydown: (event) => walk(event, own),
    }, parts);
    return { element: box, own };
  }

  function walk(event, own) {
    const isRightToLeft = getComputedStyle(event.currentTarget).direction === "rtl";
    const step = { ArrowRight: isRightToLeft ? -1 : 1, ArrowLeft: isRightToLeft ? 1 : -1 }[event.key];
    const next = own[own.indexOf(document.activeElement) + step];
    if (!step || !next) return;
    event.preventDefault();
    document.activeElement.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }

  function choose(side, index) {
    on = links.filter((link) => link[side] === index);
    for (const name of ["source", "target"]) {
      sides[name].own.forEach((word, place) => {
        const isOn = (name === side && place === index) || on.some((link) => link[name] === place);
        word.classList.toggle("on", isOn);
        word.setAttribute("aria-selected", isOn);
      });
    }
    curves.querySelectorAll("path").forEach((path, place) => path.classList.toggle("on", on.includes(links[place])));
    const name = (link, which) => sides[which].own[link[which]].textContent;
    show(said, on.length
      ? on.flatMap((link) => [h("bdi", {}, name(link, "source")), " ↔ ", h("bdi", {}, name(link, "target")), `, ${worth(link)}. `])
      : [h("bdi", {}, sides[side].own[index].textContent), " has no link."]);
  }

  function drawLinks() {
    const box = element.getBoundingClientRect();
    const middle = (word) => {
      const { left, right, top, bottom } = word.getClientRects()[0] ?? word.getBoundingClientRect();
      return [(left + right) / 2 - box.left, top - box.top, bottom - box.top];
    };
    show(curves, links.map((link) => {
      const [x, , y] = middle(sides.source.own[link.source]);
      const [u, v] = middle(sides.target.own[link.target]);
      const bend = (v - y) / 2;
      return svg("path", { class: on.includes(link) ? "on" : null, d: `M${x} ${y} C${x} ${y + bend} ${u} ${v - bend} ${u} ${v}`,
        opacity: (0.25 + 0.5 * Math.max(0, link.probability ?? link.score)).toFixed(2) });
    }));
  }

  new ResizeObserver(drawLinks).observe(element);
  return { element, said, drawLinks };
}

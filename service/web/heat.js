// A heat map of cosines as a table: a screen reader reads it, arrows walk it, no canvas.

import { h, onThemeChange, show, twoDigits } from "./dom.js";
import { short, written } from "./languages.js";

// Colours of the cosines 0, 0.5 and 1 in either theme; between them they are mixed.
const SCALES = {
  light: [[255, 255, 255], [164, 216, 206], [8, 100, 90]],
  dark: [[25, 30, 29], [31, 96, 87], [126, 240, 222]],
};

// Background and ink for a cosine: one of black and white always stands out enough (4.5 to 1).
export function colours(cosine) {
  const scale = SCALES[document.documentElement.dataset.theme] ?? SCALES.light;
  const place = 2 * Math.max(0, Math.min(1, cosine));
  const [low, high] = place < 1 ? scale : scale.slice(1);
  const mixed = low.map((value, i) => Math.round(value + (place % 1 || Number(place === 2)) * (high[i] - value)));
  const [r, g, b] = mixed.map((value) => {
    const x = value / 255;
    return x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  });
  const isLight = 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179;
  return { background: `rgb(${mixed.join(" ")})`, ink: isLight ? "#000000" : "#ffffff" };
}

function paint(cell, cosine) {
  const { background, ink } = colours(cosine);
  cell.style.backgroundColor = background;
  cell.style.color = ink;
}

// The table of `scores` (n rows of n); `picked(row, column)` is called for the cell under the
// pointer or the keyboard.
export function heatMap(texts, scores, picked) {
  const cells = scores.map((row, i) => row.map((score, j) => cellOf(score, i, j)));
  const table = h("table", { class: texts.length > 16 ? "heat dense" : "heat" },
    h("caption", { class: "unseen" }, "Cosine of each text with each other text"),
    h("thead", {}, h("tr", {}, h("td", {}),
      texts.map((text, j) => h("th", { scope: "col", title: short(text, 200) }, String(j + 1))))),
    h("tbody", {}, cells.map((row, i) => h("tr", {},
      h("th", { scope: "row" }, h("span", { class: "ordinal" }, String(i + 1)),
        h("bdi", { class: "clip", ...written(texts[i]), title: short(texts[i], 200) }, short(texts[i], 48))),
      row))));
  let at = [0, Math.min(1, texts.length - 1)];
  const focusable = () => cells[at[0]][at[1]];
  focusable().tabIndex = 0;

  function choose(i, j, focus = false) {
    focusable().tabIndex = -1;
    at = [i, j];
    focusable().tabIndex = 0;
    if (focus) focusable().focus();
    table.querySelectorAll(".crossed").forEach((head) => head.classList.remove("crossed"));
    table.tHead.rows[0].cells[j + 1].classList.add("crossed");
    table.tBodies[0].rows[i].cells[0].classList.add("crossed");
    picked(i, j);
  }

  table.addEventListener("pointerover", ({ target }) => {
    if (target.dataset.at) choose(...target.dataset.at.split(" ").map(Number));
  });
  table.addEventListener("focusin", ({ target }) => {
    if (target.dataset.at) choose(...target.dataset.at.split(" ").map(Number));
  });
  table.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step || !event.target.dataset.at) return;
    event.preventDefault();
    const clamp = (value) => Math.max(0, Math.min(texts.length - 1, value));
    choose(clamp(at[0] + step[0]), clamp(at[1] + step[1]), true);
  });
  onThemeChange(table, () => cells.forEach((row, i) =>
    row.forEach((cell, j) => i === j || paint(cell, scores[i][j]))));
  // A box of its own scrolls sideways where the table is wider than the page.
  return h("div", { class: "scroll", role: "region", "aria-label": "Heat map", tabindex: "0" }, table);
}

function cellOf(score, i, j) {
  if (i === j) return h("td", { class: "same", tabindex: "-1", "data-at": `${i} ${j}`, "aria-label": "itself" });
  const cell = h("td", { class: "number", tabindex: "-1", "data-at": `${i} ${j}` }, twoDigits(score));
  paint(cell, score);
  return cell;
}

export function legend() {
  const steps = [0, 0.25, 0.5, 0.75, 1];
  const swatches = steps.map((value) => h("span", { class: "swatch number" }, value.toFixed(2)));
  const draw = () => swatches.forEach((swatch, i) => paint(swatch, steps[i]));
  draw();
  const scale = h("div", { class: "legend", role: "img", "aria-label": "Scale of cosines, from 0 to 1" },
    h("span", {}, "unlike"), swatches, h("span", {}, "alike"));
  onThemeChange(scale, draw);
  return scale;
}

// The pairs of different texts that are most alike, best first.
export function closest(scores, count) {
  const pairs = scores.flatMap((row, i) => row.slice(i + 1).map((score, j) => ({ i, j: i + 1 + j, score })));
  return pairs.sort((a, b) => b.score - a.score).slice(0, count);
}

export function showPair(holder, texts, i, j, score) {
  const line = (index) => h("p", {}, h("span", { class: "ordinal" }, String(index + 1)),
    h("bdi", written(texts[index]), short(texts[index], 240)));
  const figure = i === j ? "itself" : twoDigits(score);
  show(holder, h("strong", { class: "number" }, figure), h("div", {}, line(i), i === j ? null : line(j)));
}

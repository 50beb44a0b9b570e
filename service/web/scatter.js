// Points in two dimensions as SVG: one mark per text, a colour and a shape per language.

import { h, onThemeChange, svg } from "./dom.js";
import { languageName } from "./languages.js";

// Sizes of the picture in units of its own, on a desktop and on a phone; marks have one size.
const WIDE = { width: 1000, height: 620 };
const NARROW = { width: 460, height: 520 };
const EDGE = 28;
const SHAPES = [
  "M-8 0a8 8 0 1 0 16 0a8 8 0 1 0-16 0Z", // circle
  "M-7-7H7V7H-7Z", // square
  "M0-9.5L9 7H-9Z", // triangle
  "M0-10L10 0L0 10L-10 0Z", // diamond
  "M-3-9H3V-3H9V3H3V9H-3V3H-9V-3H-3Z", // cross
];

// Colours alone would not do for everyone: neighbours in hue differ in shape.
function markOf(index, count) {
  const isDark = document.documentElement.dataset.theme === "dark";
  const hue = Math.round((360 * index) / Math.max(count, 1) + 20) % 360;
  return { d: SHAPES[index % SHAPES.length], fill: `oklch(${isDark ? 0.76 : 0.56} 0.15 ${hue})` };
}

// `picked(point)` is called for the mark under the pointer or the keyboard.
export function scatter(points, isNarrow, picked) {
  const counts = new Map();
  for (const { language } of points) counts.set(language, (counts.get(language) ?? 0) + 1);
  const languages = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
  const hidden = new Set();
  const size = isNarrow ? NARROW : WIDE;
  const place = placed(points, size);
  const marks = points.map((point, index) => svg("path", {
    class: "mark", "data-index": index, transform: `translate(${place[index].join(" ")})`,
  }));
  const ring = svg("circle", { class: "ring", r: 17, visibility: "hidden" });
  const element = svg("svg", {
    class: "scatter", viewBox: `0 0 ${size.width} ${size.height}`, role: "application", tabindex: "0",
    "aria-label": `Map of ${points.length} texts. Arrows go from mark to mark.`,
  }, marks, ring);
  let at = -1;

  function pick(index) {
    at = index;
    ring.setAttribute("visibility", "visible");
    ring.setAttribute("transform", `translate(${place[index].join(" ")})`);
    picked(points[index]);
  }

  element.addEventListener("pointerover", ({ target }) => {
    if (target.dataset.index) pick(Number(target.dataset.index));
  });
  element.addEventListener("pointerdown", (event) => {
    const nearest = nearestTo(event);
    if (nearest >= 0) pick(nearest);
  });
  element.addEventListener("focus", () => { if (at < 0) pick(0); });
  element.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (!step || at < 0) return;
    event.preventDefault();
    const next = towards(step);
    if (next >= 0) pick(next);
  });

  const isSeen = (index) => !hidden.has(points[index].language);

  // The nearest mark in a direction; what lies aside of it counts as three times as far.
  function towards([dx, dy]) {
    let best = -1;
    let least = Infinity;
    place.forEach(([x, y], index) => {
      const [ax, ay] = [x - place[at][0], y - place[at][1]];
      const along = ax * dx + ay * dy;
      const distance = along + 3 * Math.abs(ax * dy + ay * dx);
      if (index !== at && isSeen(index) && along > 0.01 && distance < least) [best, least] = [index, distance];
    });
    return best;
  }

  // For fingers: the nearest mark within reach of where the picture was touched.
  function nearestTo(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(element.getScreenCTM().inverse());
    let [best, least] = [-1, 40];
    place.forEach(([x, y], index) => {
      const distance = Math.hypot(x - point.x, y - point.y);
      if (isSeen(index) && distance < least) [best, least] = [index, distance];
    });
    return best;
  }

  const keys = languages.map((language, number) => ({ language, icon: svg("path", { transform: "translate(12 12)" }), number }));
  const legend = h("div", { class: "chips", role: "group", "aria-label": "Languages shown" },
    keys.map(({ language, icon }) => h("button", {
      type: "button", "aria-pressed": "true", class: "key",
      onclick: ({ currentTarget }) => {
        const isOn = hidden.delete(language) || !hidden.add(language);
        currentTarget.setAttribute("aria-pressed", isOn);
        colour();
      },
    }, svg("svg", { viewBox: "0 0 24 24", width: 15, height: 15, "aria-hidden": "true" }, icon),
    languageName(language), h("span", { class: "count" }, ` ${counts.get(language)}`))));

  function colour() {
    for (const { language, icon, number } of keys) set(icon, number, false);
    marks.forEach((mark, index) => set(mark, languages.indexOf(points[index].language), !isSeen(index)));
  }

  function set(path, number, isHidden) {
    const { d, fill } = markOf(number, languages.length);
    path.setAttribute("d", d);
    path.setAttribute("fill", fill);
    path.setAttribute("visibility", isHidden ? "hidden" : "visible");
  }

  colour();
  onThemeChange(element, colour);
  return { element, legend };
}

// From coordinates to places in the picture, both axes on one scale so that distances hold.
function placed(points, size) {
  const [width, height] = [size.width - 2 * EDGE, size.height - 2 * EDGE];
  const range = (axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [[left, right], [low, high]] = [range("x"), range("y")];
  const scale = Math.min(width / (right - left || 1), height / (high - low || 1));
  const [cx, cy] = [(left + right) / 2, (low + high) / 2];
  return points.map(({ x, y }) => [size.width / 2 + (x - cx) * scale, size.height / 2 - (y - cy) * scale]
    .map((value) => Math.round(value * 10) / 10));
}

// Map: a collection's vectors in two dimensions, as the service projects them.

import { call } from "./api.js";
import { DEMO, fromAddress, hasCollections, intoAddress, names, options, pathOf } from "./collections.js";
import { byId, empty, errorBox, h, plural, show } from "./dom.js";
import { languageName, short, written } from "./languages.js";
import { scatter } from "./scatter.js";

const LIMITS = [500, 1000, 2000, 5000];

const narrow = matchMedia("(max-width: 700px)");

let chosen = null;
let drawn = null; // the answer that is drawn

function layout() {
  return [
    h("div", { class: "row" },
      h("label", { class: "inline" }, "Collection",
        h("select", { id: "map-collection", onchange: (event) => choose(event.target.value) })),
      h("label", { class: "inline" }, "At most",
        h("select", { id: "map-limit", onchange: () => choose(chosen) },
          LIMITS.map((limit) => h("option", { value: limit, selected: limit === 1000 }, plural(limit, "text"))))),
      h("span", { id: "map-status", class: "status", role: "status" })),
    h("div", { id: "map-result" }),
  ];
}

async function choose(name) {
  chosen = name;
  byId("map-collection").value = name;
  intoAddress("map", name);
  try {
    const limit = byId("map-limit").value;
    const answer = await call("GET", `${pathOf(name, "/map")}?limit=${limit}`);
    if (chosen === name) draw(answer);
  } catch (error) {
    show(byId("map-result"), errorBox(error));
  }
}

function draw(answer) {
  drawn = answer;
  const { points, documents, variance, adapter } = answer;
  if (!points.length) return nothing(`Nothing in ${chosen} yet`);
  const share = Math.round(100 * (variance[0] + variance[1]));
  const all = points.length === documents ? "All" : `${points.length.toLocaleString("en")} of`;
  show(byId("map-status"), `${all} ${plural(documents, "document")}. The two directions hold ${share} % of the variance.`);
  const detail = h("div", { class: "picked", "aria-live": "polite" });
  const picture = scatter(points, narrow.matches, ({ id, text, language }) => show(detail, h("div", {},
    h("p", {}, h("span", { class: "badge" }, languageName(language)), h("bdi", { class: "muted" }, id)),
    h("bdi", written(text ?? "", language === "und" ? null : language), text ?? "no text is stored"))));
  show(detail, h("p", { class: "muted" }, "Point at a mark, or reach the picture with Tab and walk with the arrows."));
  show(byId("map-result"), h("div", { class: "card" }, picture.legend, picture.element, detail,
    h("p", { class: "hint" }, "Principal components of the vectors",
      adapter ? ` that the ${adapter} adapter made` : "",
      ": two directions out of many, so that what lies apart is unlike, but what lies together may only look so."),
    h("details", {}, h("summary", {}, "As a table"), table(points))));
}

function table(points) {
  return h("div", { class: "scroll tall", role: "region", "aria-label": "Points as a table", tabindex: "0" },
    h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, ["Language", "Text", "Right", "Up"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, points.slice(0, 500).map((point) => h("tr", {},
        h("td", {}, languageName(point.language)), h("td", {}, h("bdi", {}, short(point.text ?? point.id, 90))),
        h("td", { class: "number" }, point.x.toFixed(2)), h("td", { class: "number" }, point.y.toFixed(2)))))));
}

function nothing(title) {
  drawn = null;
  byId("map-status").replaceChildren();
  show(byId("map-result"), empty(title,
    h("p", {}, "Fill a collection in the Search tab; the demonstration there takes a few seconds."),
    h("a", { class: "button", href: "#search" }, "Go to Search")));
}

async function refresh() {
  try {
    const list = await names();
    const name = [fromAddress(), chosen, DEMO, list[0]].find((each) => list.includes(each));
    options(byId("map-collection"), list, name);
    if (name) await choose(name);
    else nothing("No collection yet");
  } catch (error) {
    show(byId("map-result"), errorBox(error));
  }
}

export async function start() {
  if (!(await hasCollections())) {
    show(byId("map-body"), empty("This service keeps no collections", h("p", {}, "Its API has no /collections, so there is nothing to draw.")));
    return {};
  }
  show(byId("map-body"), ...layout());
  narrow.addEventListener("change", () => { if (drawn) draw(drawn); });
  return { open: refresh };
}

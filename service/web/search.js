// Search: choose or fill a collection, then ask it in one language and find in all.

import { call } from "./api.js";
import { DEMO, create, demonstration, describe, fromAddress, hasCollections, intoAddress, names, options, pathOf, write }
  from "./collections.js";
import { busy, byId, empty, errorBox, examples, h, plural, show } from "./dom.js";
import { QUERIES } from "./examples.js";
import { ACCEPTED, readDocuments } from "./files.js";
import { followLanguage, languageName } from "./languages.js";
import { resultList } from "./results.js";

let chosen = null;
let wantedLanguages = new Set();
let asked = 0; // searches so far, of which only the last is shown
let taking = null; // the AbortController of a file that is being taken in

function layout() {
  const submit = (work) => (event) => { event.preventDefault(); busy(event.submitter ?? event.target, work); };
  return h("div", { class: "split narrow-left" },
    h("div", { class: "card" },
      h("h2", {}, "Collection"),
      h("div", { class: "field" }, h("label", { for: "collection" }, "Search in"),
        h("select", { id: "collection", onchange: (event) => choose(event.target.value) })),
      h("div", { id: "collection-facts", class: "muted" }),
      h("div", { id: "taking", role: "status" }),
      h("details", { id: "filling" }, h("summary", {}, "Add texts, make or delete"), h("div", { class: "filling" },
        h("div", { id: "drop", class: "drop" },
          h("label", { for: "file", class: "button" }, "Choose a file"),
          h("input", { type: "file", id: "file", class: "unseen", accept: ACCEPTED, onchange: ({ target }) => {
            if (target.files[0]) take(target.files[0]);
            target.value = "";
          } }),
          h("p", { class: "hint" }, "or drop one here: text (a document a line), TSV or CSV with a column ",
            h("code", {}, "text"), ", JSON lines.")),
        h("form", { id: "new-form", class: "field", onsubmit: submit(make) },
          h("label", { for: "new-name" }, "New collection"),
          h("div", { class: "row nowrap" },
            h("input", { id: "new-name", placeholder: "name", spellcheck: "false", autocomplete: "off" }),
            h("button", { type: "submit" }, "Create"))),
        h("button", { type: "button", id: "delete", class: "quiet", onclick: remove }, "")))),
    h("div", { class: "result" },
      h("form", { id: "search-form", class: "card", role: "search", onsubmit: submit(search) },
        h("div", { class: "field" }, h("label", { for: "query" }, "Ask in any language"),
          h("div", { class: "row nowrap" },
            h("input", { id: "query", type: "search", dir: "auto", autocomplete: "off", spellcheck: "false",
              oninput: (event) => followLanguage(event.target) }),
            h("button", { type: "submit", class: "primary" }, "Search"))),
        h("div", { id: "search-examples", class: "examples", role: "group", "aria-label": "Examples" }),
        h("div", { id: "search-languages", class: "chips", role: "group", "aria-label": "Only in these languages" }),
        h("details", {}, h("summary", {}, "More filters"),
          h("div", { class: "filters" },
            h("label", { class: "inline" }, "Results",
              h("input", { id: "search-top", type: "number", min: 1, max: 100, value: 10 })),
            h("label", { class: "inline" }, "Least score",
              h("input", { id: "search-least", type: "number", min: -1, max: 1, step: 0.05, placeholder: "any" })),
            h("label", { class: "inline" }, h("input", { id: "search-balance", type: "checkbox" }),
              "Take turns between languages"),
            h("div", { class: "field" }, h("label", { for: "search-filter" }, "Filter on metadata, as JSON"),
              h("input", { id: "search-filter", class: "code", spellcheck: "false", autocomplete: "off",
                placeholder: '{"field": "metadata.topic", "eq": "tea"}' }))))),
      h("div", { id: "search-status", class: "status", role: "status" }),
      h("div", { id: "search-result" })));
}

async function refresh(name) {
  const list = await names();
  await choose(list.includes(name) ? name : list[0] ?? null, list);
}

async function choose(name, list = null) {
  if (name !== chosen) {
    wantedLanguages = new Set();
    byId("search-result").replaceChildren();
  }
  chosen = name;
  if (list) options(byId("collection"), list, name);
  byId("collection").value = name ?? "";
  if (byId("panel-search").hidden === false) intoAddress("search", name);
  byId("search-status").replaceChildren();
  if (!name) return welcome();
  try {
    const about = await describe(name);
    if (chosen === name) tell(about);
  } catch (error) {
    show(byId("search-result"), errorBox(error));
  }
}

function tell(about) {
  const languages = Object.entries(about.languages);
  show(byId("collection-facts"), about.documents
    ? `${plural(about.documents, "document")} in ${plural(languages.length, "language")}`
    : "Nothing in it yet.");
  byId("filling").open = !about.documents;
  byId("delete").hidden = false;
  show(byId("delete"), `Delete ${about.name}`);
  show(byId("search-languages"), languages.length > 1 ? [h("span", { class: "muted" }, "Only in"), ...languages.map(([code, count]) =>
    h("button", {
      type: "button", "aria-pressed": String(wantedLanguages.has(code)),
      onclick: ({ currentTarget }) => {
        const isOn = wantedLanguages.delete(code) ? false : Boolean(wantedLanguages.add(code));
        currentTarget.setAttribute("aria-pressed", isOn);
        if (byId("query").value.trim()) search();
      },
    }, languageName(code), h("span", { class: "count" }, ` ${count}`)))] : null);
  byId("search-examples").hidden = chosen !== DEMO;
  if (!about.documents) return welcome();
  if (!byId("search-result").querySelector(".hits")) {
    show(byId("search-result"), empty("Ask something",
      h("p", {}, "The question may be in any language, the answers are found in all of them. A name, a sentence or ",
        "a whole paragraph will do.")));
  }
}

function welcome() {
  show(byId("search-languages"));
  byId("filling").open = true;
  byId("delete").hidden = !chosen;
  byId("search-examples").hidden = true;
  if (!chosen) show(byId("collection-facts"), "There is none yet.");
  show(byId("search-result"), empty(chosen ? `Nothing in ${chosen} yet` : "No collection yet",
    h("p", {}, "Drop a file of your own, or begin with the demonstration: 144 short passages in 12 languages, on bees, ",
      "bread, tides and nine other things."),
    h("button", { type: "button", class: "primary", onclick: (event) => busy(event.currentTarget, fillWithDemo) },
      "Load the demonstration")));
}

async function make() {
  const name = byId("new-name").value.trim();
  if (!name) return byId("new-name").focus();
  try {
    await create(name);
    byId("new-name").value = "";
    byId("search-result").replaceChildren();
    await refresh(name);
    show(byId("taking"), `${name} is there. Give it a file.`);
  } catch (error) {
    show(byId("taking"), errorBox(error));
  }
}

async function remove() {
  const name = chosen;
  if (!confirm(`Delete the collection ${name} and all documents in it?`)) return;
  try {
    await call("DELETE", pathOf(name));
    byId("search-result").replaceChildren();
    await refresh(null);
    show(byId("taking"), `${name} is deleted.`);
  } catch (error) {
    show(byId("taking"), errorBox(error));
  }
}

async function fillWithDemo() {
  try {
    await create(DEMO);
    await takeIn(DEMO, await demonstration(), "the demonstration");
  } catch (error) {
    show(byId("taking"), errorBox(error));
  }
}

async function take(file) {
  try {
    const documents = await readDocuments(file);
    if (!chosen) {
      const base = file.name.replace(/\.[^.]*$/u, "").toLowerCase().replace(/[^a-z0-9_.-]+/gu, "-");
      chosen = base.replace(/^[^a-z0-9]+/u, "").slice(0, 100) || "texts";
      await create(chosen);
    }
    await takeIn(chosen, documents, file.name);
  } catch (error) {
    show(byId("taking"), errorBox(error));
  }
}

// Write documents with a bar that moves; leaving off keeps what is written.
async function takeIn(name, documents, from) {
  taking?.abort();
  const mine = taking = new AbortController();
  const bar = h("progress", { max: documents.length, value: 0, "aria-label": `Taking in ${from}` });
  const count = h("span", { class: "number" }, `0 of ${documents.length}`);
  const stop = h("button", { type: "button", class: "quiet", onclick: () => mine.abort() }, "Stop");
  show(byId("taking"), h("p", {}, `Taking in ${from}`), bar, h("div", { class: "row" }, count, stop));
  const began = performance.now();
  let written = 0;
  try {
    await write(name, documents, (done) => {
      written = bar.value = done;
      count.textContent = `${done.toLocaleString("en")} of ${documents.length.toLocaleString("en")}`;
    }, mine.signal);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    show(byId("taking"), `${plural(written, "document")} from ${from} taken in, in ${seconds} s.`);
  } catch (error) {
    const kept = written ? ` ${plural(written, "document")} before it were taken in.` : "";
    if (error.name === "AbortError") show(byId("taking"), `Stopped.${kept}`);
    else show(byId("taking"), errorBox(error), kept);
  }
  byId("search-result").querySelector(".empty")?.remove();
  await refresh(name);
}

function request() {
  const value = (id) => byId(id).value.trim();
  const body = { queries: [byId("query").value], top_k: Number(value("search-top")) || 10 };
  if (wantedLanguages.size) body.languages = [...wantedLanguages];
  if (value("search-least")) body.min_score = Number(value("search-least"));
  if (byId("search-balance").checked) body.balance = true;
  if (value("search-filter")) {
    try {
      body.filter = JSON.parse(value("search-filter"));
    } catch (fault) {
      throw new Error(`The filter is not JSON: ${fault.message}`);
    }
  }
  return body;
}

async function search() {
  if (!chosen) return welcome();
  if (!byId("query").value.trim()) {
    show(byId("search-status"), "Write what you look for, then search.");
    return byId("query").focus();
  }
  const began = performance.now();
  const mine = ++asked;
  try {
    const body = request();
    const { results: [hits] } = await call("POST", pathOf(chosen, "/search"), body);
    if (mine !== asked) return;
    const took = Math.round(performance.now() - began);
    const found = new Set(hits.map((hit) => hit.language)).size;
    show(byId("search-status"), hits.length
      ? `${plural(hits.length, "result")} in ${plural(found, "language")}, ${took} ms.`
      : "Nothing found within these filters.");
    show(byId("search-result"), hits.length ? resultList(hits, body.queries[0]) : null);
  } catch (error) {
    if (mine !== asked) return;
    byId("search-status").replaceChildren();
    show(byId("search-result"), errorBox(error));
  }
}

function dropTarget(area) {
  const over = (isOver) => (event) => {
    event.preventDefault();
    area.classList.toggle("over", isOver);
  };
  area.addEventListener("dragover", over(true));
  area.addEventListener("dragleave", over(false));
  area.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

export async function start() {
  if (!(await hasCollections())) {
    show(byId("search-body"), empty("This service keeps no collections",
      h("p", {}, "Its API has no /collections, so there is nothing to search in.")));
    return {};
  }
  show(byId("search-body"), layout());
  dropTarget(byId("panel-search"));
  examples(byId("search-examples"), QUERIES, ({ query }) => {
    byId("query").value = query;
    followLanguage(byId("query"));
    return search();
  });
  return { open: () => refresh(fromAddress() ?? chosen).catch((error) =>
    show(byId("search-result"), errorBox(error))) };
}

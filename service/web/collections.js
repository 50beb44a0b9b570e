// Collections as Search and Map speak of them: choosing one, and the demonstration.

import { call, ifOffered, send } from "./api.js";
import { h } from "./dom.js";

export const DEMO = "demo";

// Documents of one request while a file is taken in: few, so that its progress is seen.
const BATCH = 64;

export const pathOf = (name, rest = "") => `/collections/${encodeURIComponent(name)}${rest}`;

export const names = async () => (await call("GET", "/collections")).collections;

export const hasCollections = async () => (await ifOffered(names)) !== null;

export const create = (name) => call("PUT", pathOf(name), {});

export const describe = (name) => call("GET", pathOf(name));

// The collection that the address names, #search/NAME; null where it names none.
export function fromAddress() {
  const name = location.hash.split("/")[1];
  return name ? decodeURIComponent(name) : null;
}

export function intoAddress(tab, name) {
  history.replaceState(null, "", name ? `#${tab}/${encodeURIComponent(name)}` : `#${tab}`);
}

export function options(select, list, chosen) {
  select.replaceChildren(...list.map((name) => h("option", { value: name, selected: name === chosen }, name)));
  select.disabled = !list.length;
}

// Write `documents` a batch at a time; `told(done, total)` after each. What was written stays.
export async function write(name, documents, told, signal) {
  for (let start = 0; start < documents.length; start += BATCH) {
    const batch = documents.slice(start, start + BATCH);
    try {
      await call("POST", pathOf(name, "/documents"), { documents: batch }, { signal });
    } catch (error) {
      const index = /^documents\[(\d+)\]/u.exec(error.param ?? "")?.[1];
      if (index) error.param = `${batch[index].id} (${error.param})`;
      throw error;
    }
    told(Math.min(start + BATCH, documents.length), documents.length);
  }
}

export async function demonstration() {
  const response = await send("GET", "/web/passages.jsonl");
  return (await response.text()).trim().split("\n").map((line) => JSON.parse(line));
}

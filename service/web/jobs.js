// Jobs: files handed over, watched while the service works on them, and fetched when it is done.

import { call, ifOffered, send } from "./api.js";
import { demonstration, names, options } from "./collections.js";
import { busy, byId, empty, errorBox, h, show } from "./dom.js";
import { eventsOf } from "./events.js";
import { isActive, jobCard } from "./job_card.js";

// What each type reads, needs and can write; the first output is the default.
const TYPES = {
  embed: { title: "Embed: vectors of a file's texts", files: ["input"], outputs: ["parquet", "jsonl", "tsv", "npy"] },
  index: { title: "Index: a file's texts into a collection", files: ["input"], outputs: ["jsonl", "parquet", "tsv"], collection: true },
  retrieve: { title: "Retrieve: what is nearest to each text of a file", files: ["input"], outputs: ["jsonl", "parquet", "tsv"], collection: true },
  align: { title: "Align: which texts of two files are translations", files: ["source", "target"], outputs: ["tsv", "jsonl", "parquet"] },
};
const FILE_LABELS = { input: "File", source: "One file", target: "The other file" };

const jobs = new Map(); // id to what is known of the job, the youngest first
const followed = new Map(); // id to the AbortController of its events

function layout() {
  return h("div", { class: "split narrow-left" },
    h("form", { id: "job-form", class: "card", onsubmit: (event) => {
      event.preventDefault();
      busy(event.submitter ?? event.target, submit);
    } },
      h("h2", {}, "New job"),
      h("div", { class: "field" }, h("label", { for: "job-type" }, "What to do"),
        h("select", { id: "job-type", onchange: showFields },
          Object.entries(TYPES).map(([type, { title }]) => h("option", { value: type }, title)))),
      Object.entries(FILE_LABELS).map(([field, label]) => h("div", { class: "field", id: `job-field-${field}` },
        h("label", { for: `job-${field}` }, label),
        h("input", { type: "file", id: `job-${field}`, accept: ".txt,.tsv,.json,.jsonl,.ndjson,.parquet,.gz,.zst" }))),
      h("div", { class: "field", id: "job-field-collection" }, h("label", { for: "job-collection" }, "Collection"),
        h("select", { id: "job-collection" })),
      h("div", { class: "field" }, h("label", { for: "job-output" }, "Result as"), h("select", { id: "job-output" })),
      h("p", { class: "hint" }, "Text (one a line), TSV, JSON lines or Parquet, also as .gz or .zst."),
      h("button", { type: "submit", class: "primary" }, "Submit"),
      h("div", { id: "job-status", role: "status" })),
    h("div", { class: "result" },
      h("div", { id: "jobs-news", class: "unseen", role: "status" }),
      h("div", { id: "jobs-list" })));
}

function showFields() {
  const { files, outputs, collection } = TYPES[byId("job-type").value];
  for (const field of Object.keys(FILE_LABELS)) byId(`job-field-${field}`).hidden = !files.includes(field);
  byId("job-field-collection").hidden = !collection;
  options(byId("job-output"), outputs, outputs[0]);
}

async function upload(file) {
  const path = `/files?name=${encodeURIComponent(file.name)}`;
  const headers = { "Content-Type": "application/octet-stream" };
  return (await send("POST", path, { body: file, headers })).json();
}

async function submit() {
  const type = byId("job-type").value;
  const { files, collection } = TYPES[type];
  const chosen = files.map((field) => byId(`job-${field}`).files[0]);
  const missing = chosen.findIndex((file) => !file);
  if (missing >= 0) {
    show(byId("job-status"), "Choose a file, then submit.");
    return byId(`job-${files[missing]}`).focus();
  }
  const request = { type, output: byId("job-output").value };
  if (collection) request.collection = byId("job-collection").value;
  await handOver(request, Object.fromEntries(files.map((field, index) => [field, chosen[index]])));
}

// Upload the files, then queue the job over them.
async function handOver(request, files) {
  try {
    for (const [field, file] of Object.entries(files)) {
      show(byId("job-status"), `Uploading ${file.name}…`);
      request[field] = { file: (await upload(file)).id };
    }
    const job = await call("POST", "/jobs", request);
    show(byId("job-status"), "Handed over. It goes on if you leave this page.");
    jobs.set(job.id, job);
    draw();
    follow(job.id);
  } catch (error) {
    show(byId("job-status"), errorBox(error));
  }
}

async function embedDemonstration() {
  const content = (await demonstration()).map((passage) => `${JSON.stringify(passage)}\n`).join("");
  await handOver({ type: "embed", output: "jsonl" }, { input: new File([content], "passages.jsonl") });
}

async function follow(id) {
  if (followed.has(id)) return;
  const mine = new AbortController();
  followed.set(id, mine);
  try {
    for await (const { type, data } of eventsOf(`/jobs/${id}/events`, mine.signal)) {
      if (type !== "progress") continue;
      if (data.state !== jobs.get(id)?.state) show(byId("jobs-news"), `The ${data.type} job is ${data.state}.`);
      jobs.set(id, data);
      draw();
      if (!isActive(data)) break;
    }
  } catch (error) {
    show(byId("job-status"), errorBox(error));
  } finally {
    mine.abort();
    followed.delete(id);
  }
}

const actions = {
  async cancel(job) {
    jobs.set(job.id, await call("POST", `/jobs/${job.id}/cancel`));
    draw();
  },
  async remove(job) {
    await call("DELETE", `/jobs/${job.id}`);
    jobs.delete(job.id);
    draw();
  },
};

async function act(name, job, button) {
  await busy(button, () => actions[name](job).catch((error) => show(byId("job-status"), errorBox(error))));
}

// Draw anew what has changed, and leave alone what has not: the focus stays where it is.
function draw() {
  const list = byId("jobs-list");
  if (!jobs.size) {
    show(list, empty("No job yet",
      h("p", {}, "Hand over a file on the left, or let the service embed the demonstration: 144 passages in 12 languages."),
      h("button", { type: "button", class: "primary", onclick: (event) => busy(event.currentTarget, embedDemonstration) },
        "Embed the demonstration")));
    return;
  }
  const cards = new Map([...list.querySelectorAll(".job")].map((card) => [card.dataset.id, card]));
  const wanted = [...jobs.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1)).map((job) => {
    const card = cards.get(job.id);
    const told = JSON.stringify(job);
    return card?.told === told ? card : Object.assign(jobCard(job, act, card), { told });
  });
  list.querySelector(".empty")?.remove();
  for (const [id, card] of cards) if (!jobs.has(id)) card.remove();
  wanted.forEach((card, place) => { if (list.children[place] !== card) list.insertBefore(card, list.children[place] ?? null); });
}

async function refresh() {
  try {
    const { jobs: all } = await call("GET", "/jobs?limit=100");
    jobs.clear();
    for (const job of all) jobs.set(job.id, job);
    draw();
    for (const job of all) if (isActive(job)) follow(job.id);
    options(byId("job-collection"), await names(), byId("job-collection").value);
  } catch (error) {
    show(byId("jobs-list"), errorBox(error));
  }
}

export async function start() {
  if ((await ifOffered(() => call("GET", "/jobs"))) === null) {
    show(byId("jobs-body"), empty("This service takes no jobs",
      h("p", {}, "Its API has no /jobs. Until it has, the command line works on whole files:"),
      h("pre", {}, h("code", {}, "polygrain embed texts.txt --out vectors.npy\npolygrain align one.txt other.txt"))));
    return {};
  }
  show(byId("jobs-body"), layout());
  showFields();
  return { open: refresh };
}

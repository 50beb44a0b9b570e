// One job as a card: its state, how far it is, and what can be done with it.

import { send, usesKey } from "./api.js";
import { errorBox, h, show } from "./dom.js";

const ENDED = new Set(["completed", "failed", "cancelled"]);

export const isActive = (job) => !ENDED.has(job.state);

const count = (value) => value.toLocaleString("en");

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5_400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}

function size(bytes) {
  const step = Math.min(3, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return `${(bytes / 1_000 ** step).toFixed(step ? 1 : 0)} ${["B", "kB", "MB", "GB"][step]}`;
}

function progress({ counts: { total, completed, failed }, rows_per_second: rate, seconds_left: left, stage }) {
  const rows = [
    total === null ? `${count(completed)} rows` : `${count(completed)} of ${count(total)} rows`,
    failed ? `${count(failed)} bad` : null,
    rate === null ? null : `${count(Math.round(rate))} rows/s`,
    left === null ? null : `${duration(left)} left`,
    stage ? `${stage.name} ${count(stage.done)}${stage.total === null ? "" : ` of ${count(stage.total)}`}` : null,
  ];
  return rows.filter(Boolean).join(" · ");
}

// How far it is: in what it does now, which moves more often than the rows that are on disk.
function reached({ counts: { total, completed, failed }, stage }) {
  return stage?.total ? stage : { done: completed + failed, total };
}

// A link to a file of the job. Where the service asks for a key, the file is fetched with it.
function fileLink(label, file) {
  const link = h("a", { class: "button", href: file.url, download: "", onclick: async (event) => {
    if (!usesKey() || link.href.startsWith("blob:")) return;
    event.preventDefault();
    try {
      const response = await send("GET", file.url);
      link.href = URL.createObjectURL(await response.blob());
      link.download = `${file.url.split("/")[2]}.${file.format}`;
      link.click();
    } catch (error) {
      link.after(errorBox(error));
    }
  } }, `${label} (${file.format}, ${size(file.bytes)})`);
  return link;
}

// A card for `job`; `old`, the card that it had, is filled anew, so that its buttons keep the focus.
export function jobCard(job, act, old = null) {
  const card = old ?? h("article", { class: "card job", "data-id": job.id });
  const held = card.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  const { done, total } = reached(job);
  const button = (name, label) => h("button", {
    type: "button", "data-act": name, onclick: ({ currentTarget }) => act(name, job, currentTarget),
  }, label);
  card.setAttribute("aria-label", `${job.type} job, ${job.state}`);
  show(card,
    h("div", { class: "row" },
      h("span", { class: `badge state-${job.state}` }, job.state),
      h("h2", {}, job.type), job.request?.collection ? h("span", { class: "muted" }, "in ", h("bdi", {}, job.request.collection)) : null,
      h("time", { class: "muted to-end", datetime: job.created_at }, new Date(job.created_at).toLocaleString())),
    isActive(job) ? h("progress", { max: total ?? 1, value: total === null ? null : done, "aria-label": "Progress" }) : null,
    h("p", { class: "muted number" }, progress(job)),
    job.error ? errorBox({ title: "It failed", message: job.error }) : null,
    h("div", { class: "row" },
      job.results ? fileLink(job.results.partial ? "Partial results" : "Results", job.results) : null,
      job.errors?.rows ? fileLink("Bad rows", job.errors) : null,
      isActive(job) && job.state !== "cancelling" ? button("cancel", "Cancel") : null,
      isActive(job) ? null : button("remove", "Delete")));
  if (held) (card.querySelector(`[data-act="${held}"]`) ?? card.querySelector("button, a"))?.focus();
  return card;
}

/** One job with its ledger and timeline, or one workspace with its limits and jobs: named by the address. */

import { api, here } from "./api.js";
import { byId, make, relativeTime, shorten, show } from "./dom.js";
import { cancelJob, retryJob, setLimits, setPaused } from "./operator-actions.js";
import { button, link, linkToJob, paintTable, replace } from "./operator-table.js";
import { paintReceipt } from "./receipt.js";

const shown = { hash: "", kind: "", id: "", status: "", isEnded: false };
const isEnded = (job) => job.status === "completed" || job.status === "failed";
const why = ({ message, code }) => (code === "cancelled" ? message : `${message} (${code})`);
const time = (text) => new Date(text).toLocaleString();
const STATUSES = ["", "pending", "processing", "completed", "failed"];
const parts = { receipt: byId("detail-receipt"), total: byId("detail-total"), lines: byId("detail-lines") };

/** Shows what the address names; keeps it new while it may change. */
export async function paintDetail() {
  const isNew = shown.hash !== location.hash;
  if (isNew) {
    const { kind, id } = location.hash.match(/^#(?<kind>job|workspace)=(?<id>.+)$/)?.groups ?? { kind: "", id: "" };
    Object.assign(shown, { hash: location.hash, kind, id: decoded(id), status: "", isEnded: false });
    for (const name of ["detail-body", "detail-list"]) {
      byId(name).replaceChildren();
      delete byId(name).dataset.shown;
    }
    parts.receipt.hidden = true;
  }
  const read = { job: paintJob, workspace: paintWorkspace }[shown.kind];
  byId("detail").hidden = !read;
  if (!read || (!isNew && shown.isEnded)) return;
  const hashThen = shown.hash;
  if (isNew) byId("detail-title").textContent = `${shown.kind === "job" ? "Job" : "Workspace"} ${shown.id}`;
  try {
    await read(shown.id, () => shown.hash === hashThen);
    byId("detail-error").textContent = "";
  } catch (problem) {
    byId("detail-error").textContent = problem.message;
  }
  if (isNew) {
    byId("detail").scrollIntoView();
    byId("detail").focus({ preventScroll: true });
  }
}

/** Returns the id that a part of an address stands for; people may have written it as it is. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Reads it anew at the next `paintDetail`. */
export function renewDetail() {
  shown.isEnded = false;
}

export function closeDetail() {
  history.pushState(null, "", location.pathname);
  paintDetail();
  byId("wanted").focus();
}

/** Paints a list of facts: texts or elements by their titles; those that are missing are left out. */
function buildFacts(facts) {
  const known = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make("dl", { className: "facts" }, ...known.map(([title, value]) =>
    make("div", {}, make("dt", { textContent: title }), make("dd", {}, ...[value].flat()))));
}

/** Replaces what is shown, unless it is the same: the keyboard stays where it is. */
function paintBody(data, build) {
  const body = byId("detail-body");
  const text = JSON.stringify(data);
  if (body.dataset.shown === text) return;
  body.dataset.shown = text;
  replace(body, ...build());
}

async function paintJob(id, isCurrent) {
  const found = await api("GET", `/v1/operator/jobs/${encodeURIComponent(id)}`);
  if (!isCurrent()) return;
  const { job } = found;
  // The stream may end a moment after the row.
  shown.isEnded = isEnded(job) && isEnded(found.events?.at(-1) ?? job);
  paintBody([found.workspace_id, { ...job, urls: null, images: job.images.map((image) => image.id), previews: [] }], () => [
    buildFacts({
      Status: `${job.status}, ${job.progress} %: ${job.message}`,
      Workspace: link("workspace", found.workspace_id),
      User: found.user_id, Product: job.product_id, Model: job.model,
      Attempts: `${job.attempt} of ${job.max_attempts}`,
      Error: job.error && why(job.error),
      Images: `${job.images.length} of ${job.n}`,
      "Next attempt": job.next_attempt_at && time(job.next_attempt_at),
      "Cancel requested": job.cancel_requested_at && time(job.cancel_requested_at),
      "Retry of": job.retry_of && linkToJob(job.retry_of),
    }),
    make("p", { className: "prompt", textContent: job.prompt }),
    make("ul", { className: "thumbs" }, ...job.images.map((image) => make("li", {}, buildThumb(image)))),
    make("p", { className: "actions" }, isEnded(job)
      ? button("Retry job", "retry", () => retryJob(job, (again) => { location.hash = `#job=${again.id}`; }))
      : button("Cancel job", "cancel", () => cancelJob(job))),
  ]);
  paintReceipt(parts, job);
  paintTable(byId("detail-list"), { title: "Timeline", isTitled: true, rows: timelineOf(found), empty: "", columns: [
    { title: "Time", show: (row) => make("time", { dateTime: row.at, textContent: new Date(row.at).toLocaleTimeString(), title: time(row.at) }) },
    { title: "What happened", show: (row) => row.what },
    { title: "Details", show: (row) => row.details },
  ] });
}

function buildThumb(image) {
  const img = Object.assign(new Image(96, 96), { src: here(image.url), alt: `Image ${image.position + 1}`, loading: "lazy" });
  return make("a", { href: here(image.url), target: "_blank", rel: "noopener" }, img);
}

/** Returns the events of a job together with what its row and its ledger know, in the order of time. */
function timelineOf({ job, events }) {
  const rows = [{ at: job.created_at, what: "Submitted", details: "" }];
  for (const line of job.attempts) {
    rows.push({ at: line.started_at, what: `Attempt ${line.number} started`, details: [line.provider, line.model].filter(Boolean).join(" · ") });
    if (line.finished_at) rows.push({ at: line.finished_at, what: `Attempt ${line.number} ${line.outcome}`, details: line.error ? why(line.error) : "" });
  }
  if (job.cancel_requested_at) rows.push({ at: job.cancel_requested_at, what: "Cancel requested", details: "" });
  rows.push(...(events ?? []).map((event) => ({ at: event.at, what: `Event: ${event.message}`, details: `${event.status} ${event.progress} %` })));
  if (!events) rows.push({ at: job.finished_at ?? job.created_at, what: "Redis is unavailable", details: "events are not shown" });
  else if (!events.length) rows.push({ at: job.finished_at ?? job.created_at, what: "No events are kept any more", details: "" });
  return rows.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

async function paintWorkspace(id, isCurrent) {
  const query = `workspace_id=${encodeURIComponent(id)}`;
  const limits = await api("GET", `/v1/operator/workspaces?${query}`);
  const page = await api("GET", `/v1/operator/jobs?${query}&limit=25${shown.status ? `&status=${shown.status}` : ""}`);
  if (!isCurrent()) return;
  const limit = (name, any) => limits[name] ?? `${limits.defaults[name] ?? any} (default)`;
  paintBody([limits, shown.status], () => [
    buildFacts({
      "Open jobs, at most": String(limit("open_jobs", "any number")),
      "Running jobs, at most": String(limit("running_jobs", "any number")),
      "Submissions a minute, at most": String(limit("submissions_per_minute", "any number")),
      "Micro-dollars a day, at most": String(limit("cost_per_day", "any number")),
      "Micro-dollars a month, at most": String(limit("cost_per_month", "any number")),
      Models: limits.models?.join(", ") ?? "all (default)",
      Paused: limits.paused_at && `since ${time(limits.paused_at)}`,
    }),
    make("p", { className: "actions" },
      button("Change limits", "limits", () => setLimits(limits)),
      button(limits.paused_at ? "Resume workspace" : "Pause workspace", "pause", () => setPaused("workspace", id, !limits.paused_at))),
    buildFilter(),
  ]);
  paintTable(byId("detail-list"), { title: "Jobs, newest first", isTitled: true, rows: page.items.map(forList), empty: "No such jobs.", columns: [
    { title: "Job", show: (job) => linkToJob(job.id) },
    { title: "Status", show: (job) => (job.error ? `${job.status}: ${job.error.code}` : job.status) },
    { title: "Prompt", show: (job) => shorten(job.prompt, 70) },
    { title: "Attempts", isNumber: true, show: (job) => `${job.attempt} of ${job.max_attempts}` },
    { title: "Created", show: (job) => relativeTime(job.created_at, Date.now()) },
  ] });
}

const forList = ({ id, status, prompt, error, attempt, max_attempts, created_at }) =>
  ({ id, status, prompt, error, attempt, max_attempts, created_at });

function buildFilter() {
  const select = make("select", { id: "detail-status" }, ...STATUSES.map((status) =>
    make("option", { value: status, textContent: status || "all", selected: status === shown.status })));
  select.dataset.place = "status";
  select.addEventListener("change", () => {
    shown.status = select.value;
    paintDetail();
  });
  return make("div", { className: "field filter" }, make("label", { htmlFor: select.id, textContent: "Jobs with status" }), select);
}

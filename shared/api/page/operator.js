/**
 * The operator page: all workspaces at a glance, and what can be done about them.
 *
 * It asks for the overview every few seconds: what it shows is counted by the server, and no event says that a count
 * has changed. The server reads an overview once for all pages that ask.
 */

import { api, clock, serverNow, session } from "./api.js";
import { announce, byId, duration, make, plural, relativeTime, shorten, show } from "./dom.js";
import { keyForm, startKey } from "./key.js";
import { onDone, setPaused } from "./operator-actions.js";
import { closeDetail, paintDetail, renewDetail } from "./operator-detail.js";
import { button, link, linkToJob, paintTable } from "./operator-table.js";
import { dollars } from "./receipt.js";

const ASK_MILLISECONDS = 5000;
const RARELY_MILLISECONDS = 60_000; // costs, audit, the queue by provider
const MINUTES = 30;
const LONG_WAIT_SECONDS = 300;
const state = { overview: null, costs: [], audit: [], queue: [], rareAt: 0, askAt: 0, isAsking: false };

/* ---- Panels ---- */

const age = (instant) => relativeTime(instant, serverNow());
const count = (title, name) => ({ title, isNumber: true, show: (row) => String(row[name]) });
const pauseButton = (kind, name, isPaused) =>
  button(isPaused ? "Resume" : "Pause", `pause ${name}`, () => setPaused(kind, name, !isPaused), `${isPaused ? "Resume" : "Pause"} ${kind} ${name}`);
const flag = (text) => make("strong", { className: "flag", textContent: text });

const COUNTS = [
  count("Due", "due"), count("Delayed", "delayed"), count("Released", "released"), count("Running", "running"),
  { title: "Oldest waits", isNumber: true, show: (row) => (row.oldest_waiting_seconds === null ? null : duration(row.oldest_waiting_seconds)) },
];

const PANELS = [
  { id: "queue", title: "Queue by workspace", empty: "No job waits or runs.", rows: ({ overview }) => overview.queue, columns: [
    { title: "Workspace", show: (row) => [link("workspace", row.workspace_id), row.is_paused ? flag(" paused") : null] },
    ...COUNTS,
    { title: "Action", isAction: true, show: (row) => pauseButton("workspace", row.workspace_id, row.is_paused) },
  ] },
  { id: "provider-queue", title: "Queue by provider", isRare: true, rows: ({ queue }) => queue, columns: [
    { title: "Provider", show: (row) => [row.provider, row.is_paused ? flag(" paused") : null] },
    ...COUNTS,
  ] },
  { id: "running", title: "Running jobs", hint: "Longest first.", empty: "No job runs.", rows: ({ overview }) => overview.running, columns: [
    { title: "Job", show: (row) => linkToJob(row.job_id) },
    { title: "Workspace", show: (row) => link("workspace", row.workspace_id) },
    { title: "Runs for", isNumber: true, show: (row) => duration(row.seconds) },
    { title: "Progress", isNumber: true, show: (row) => `${row.progress} %${row.is_cancelled ? ", ends" : ""}` },
    { title: "Attempt", isNumber: true, show: (row) => `${row.attempt} of ${row.max_attempts}` },
    { title: "Provider", show: (row) => row.provider },
    { title: "Worker", show: (row) => row.worker },
  ] },
  { id: "stuck", title: "Stuck jobs", hint: "Recovery should have moved them on by now.", isRare: true, rows: ({ overview }) => overview.stuck, columns: [
    { title: "Job", show: (row) => linkToJob(row.job_id) },
    { title: "Workspace", show: (row) => link("workspace", row.workspace_id) },
    { title: "Reason", show: (row) => row.reason },
    { title: "For", isNumber: true, show: (row) => duration(row.seconds) },
  ] },
  { id: "failures", title: "Failures, last hour", empty: "No job has failed.", rows: ({ overview }) => overview.failures, columns: [
    { title: "Code", show: (row) => make("code", { textContent: row.code ?? "unknown" }) },
    { title: "Provider", show: (row) => row.provider },
    count("Jobs", "jobs"),
    { title: "Last", show: (row) => age(row.last_at) },
    { title: "Last message", show: (row) => row.message },
    { title: "Last job", show: (row) => linkToJob(row.job_id) },
  ] },
  { id: "providers", title: "Providers, last 15 minutes", rows: ({ overview }) => overview.providers, columns: [
    { title: "Provider", show: (row) => [row.provider, row.paused_at ? flag(" paused") : null] },
    count("Attempts", "attempts"),
    { title: "Failed", isNumber: true, show: (row) => (row.attempts ? `${row.failed} (${Math.round((100 * row.failed) / row.attempts)} %)` : "0") },
    { title: "Takes", isNumber: true, show: (row) => (row.mean_seconds === null ? null : `${row.mean_seconds.toFixed(1)} s`) },
    { title: "Last failure", show: (row) => (row.code ? `${row.message} (${row.code})` : null) },
    { title: "Action", isAction: true, show: (row) => pauseButton("provider", row.provider, Boolean(row.paused_at)) },
  ] },
  { id: "paused", title: "Paused workspaces", isRare: true, rows: ({ overview }) => overview.paused, columns: [
    { title: "Workspace", show: (row) => link("workspace", row.workspace_id) },
    { title: "Since", show: (row) => age(row.paused_at) },
    { title: "Action", isAction: true, show: (row) => pauseButton("workspace", row.workspace_id, true) },
  ] },
  { id: "webhooks", title: "Webhooks that fail", isRare: true, rows: ({ overview }) => overview.webhooks, columns: [
    { title: "Workspace", show: (row) => link("workspace", row.workspace_id) },
    { title: "Receiver", show: (row) => row.url ?? "those of its requests" },
    { title: "State", show: (row) => (row.disabled_at ? `disabled ${age(row.disabled_at)}: ${row.disabled_reason}` : `began to fail ${age(row.failing_since)}`) },
    { title: "Enable it again", show: (row) => (row.disabled_at ? make("code", { textContent: `darkroom webhooks enable ${row.id}` }) : null) },
  ] },
  { id: "newest", title: "Newest jobs", empty: "No job yet.", rows: ({ overview }) => overview.newest, columns: [
    { title: "Job", show: (row) => linkToJob(row.id) },
    { title: "Workspace", show: (row) => link("workspace", row.workspace_id) },
    { title: "Status", show: (row) => (row.code ? `${row.status}: ${row.code}` : row.status) },
    { title: "Prompt", show: (row) => shorten(row.prompt ?? "", 70) },
    { title: "Created", show: (row) => age(row.created_at) },
  ] },
  { id: "rejected", title: "Rejected messages", hint: "They were on the queue and named no job.", isRare: true, rows: ({ overview }) => overview.rejected, columns: [
    { title: "When", show: (row) => age(row.received_at) },
    { title: "Runtime", show: (row) => row.runtime },
    { title: "Reason", show: (row) => row.reason },
  ] },
  { id: "costs", title: "Costs today", empty: "No call of a provider has ended today.", rows: ({ costs }) => costs, columns: [
    { title: "Workspace", show: (row) => (row.workspace ? link("workspace", row.workspace) : "deleted") },
    { title: "Model", show: (row) => row.model },
    { title: "Charged", isNumber: true, show: (row) => dollars(row.price_microdollars) },
    count("Calls", "charged_calls"), count("Bill unknown", "unknown_calls"), count("Price unknown", "unpriced_calls"),
  ] },
  { id: "workers", title: "Workers", empty: "No worker has run in the last day.", rows: ({ overview }) => overview.workers, columns: [
    { title: "Worker", show: (row) => [row.owner, row.is_counted ? null : flag(" gone")] },
    { title: "Runtime", show: (row) => row.runtime },
    count("Slots", "slots"),
    { title: "Version", show: (row) => row.version },
    { title: "Seen", show: (row) => age(row.seen_at) },
    { title: "Started", show: (row) => age(row.started_at) },
  ] },
  { id: "audit", title: "Actions of operators", empty: "None yet.", rows: ({ audit }) => audit, columns: [
    { title: "When", show: (row) => age(row.at) },
    { title: "Who", show: (row) => row.who },
    { title: "What", show: (row) => `${row.action} ${row.target}` },
    { title: "Details", show: (row) => Object.entries(row.details).filter(([, value]) => value !== null).map(([name, value]) => `${name}: ${value}`).join(", ") },
    { title: "Refused", show: (row) => row.error },
  ] },
];

function buildPanels() {
  byId("panels").replaceChildren(...PANELS.map(({ id, title, hint = "" }) => {
    const head = make("div", { className: "row" }, make("h2", { id: `${id}-title`, textContent: title }), make("p", { className: "hint", textContent: hint }));
    const panel = make("section", { id: `${id}-panel`, className: "panel" }, head, make("div", { id }));
    panel.setAttribute("aria-labelledby", `${id}-title`);
    panel.dataset.testid = id;
    return panel;
  }));
}

/* ---- What needs attention ---- */

/** Returns a line for each thing that an operator should look at, the worst first. */
function noticesOf(overview) {
  const lines = [];
  const waiting = overview.totals.due + overview.totals.released;
  if (!overview.slots) lines.push(`No worker runs${waiting ? `, and ${plural(waiting, "job")} wait` : ""}.`);
  for (const row of overview.providers) {
    if (row.attempts >= 3 && row.failed * 2 >= row.attempts) lines.push(`Provider ${row.provider} fails: ${row.failed} of ${plural(row.attempts, "attempt")} (${row.code}).`);
    if (row.paused_at) lines.push(`Provider ${row.provider} was paused ${age(row.paused_at)}.`);
  }
  if (overview.stuck.length) lines.push(`${plural(overview.stuck.length, "job")} should have moved on by now.`);
  for (const row of overview.queue.filter((each) => !each.is_paused && each.oldest_waiting_seconds > LONG_WAIT_SECONDS).slice(0, 3)) {
    lines.push(`A job of workspace ${row.workspace_id} has waited for ${duration(row.oldest_waiting_seconds)}.`);
  }
  for (const row of overview.paused.slice(0, 3)) lines.push(`Workspace ${row.workspace_id} was paused ${age(row.paused_at)}.`);
  if (overview.paused.length > 3) lines.push(`${overview.paused.length - 3} more workspaces are paused.`);
  const disabled = overview.webhooks.filter((row) => row.disabled_at).length;
  const failing = overview.webhooks.length - disabled;
  if (failing) lines.push(`${plural(failing, "webhook")} cannot be delivered.`);
  if (disabled) lines.push(`${plural(disabled, "webhook")} ${disabled === 1 ? "is" : "are"} disabled.`);
  return lines;
}

function paintNow({ overview, costs }) {
  const lines = noticesOf(overview);
  const text = lines.join(" ");
  if (byId("notices").dataset.shown !== (text || "fine")) {
    byId("notices").dataset.shown = text || "fine";
    byId("notices").replaceChildren(...(lines.length ? lines : ["Nothing needs attention."]).map((line) => make("li", { textContent: line })));
    byId("notices").classList.toggle("fine", !lines.length);
    if (lines.length) announce("notices", text);
  }
  const sum = (name) => overview.throughput.reduce((total, minute) => total + minute[name], 0);
  const numbers = {
    Waiting: overview.totals.due + overview.totals.delayed + overview.totals.released,
    Running: `${overview.totals.running} of ${plural(overview.slots, "slot")}`,
    "Done in 30 min": sum("completed"),
    "Failed in 30 min": sum("failed"),
    "Costs today": dollars(costs.reduce((total, row) => total + row.price_microdollars, 0)),
  };
  byId("numbers").replaceChildren(...Object.entries(numbers).map(([title, value]) =>
    make("div", {}, make("dt", { textContent: title }), make("dd", { textContent: String(value) }))));
  paintChart(overview.throughput, sum("completed"), sum("failed"));
  byId("read-at").textContent = `Read at ${new Date(overview.at).toLocaleTimeString()}`;
  document.documentElement.classList.toggle("running", overview.totals.running > 0);
  document.title = lines.length ? `(${lines.length}) Darkroom operator` : "Darkroom operator";
}

/** Draws a bar for each minute: completed jobs below, failed ones above. */
function paintChart(minutes, completed, failed) {
  const most = Math.max(0, ...minutes.map((minute) => minute.completed + minute.failed));
  const bar = (minute, from, jobs, kind) => {
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const [height, base] = [jobs, from].map((number) => (52 * number) / (most || 1));
    const place = { x: 300 - 10 * (minute.minutes_ago + 1) + 1, y: 54 - base - height, width: 8, height, class: kind };
    for (const [name, value] of Object.entries(place)) rect.setAttribute(name, value);
    return rect;
  };
  const shown = minutes.filter((minute) => minute.minutes_ago < MINUTES);
  byId("chart").replaceChildren(...shown.flatMap((minute) =>
    [bar(minute, 0, minute.completed, "completed"), bar(minute, minute.completed, minute.failed, "failed")]));
  const text = `Jobs that ended in each of the last ${MINUTES} minutes: ${completed} completed, ${failed} failed, at most ${most} in a minute.`;
  byId("chart").setAttribute("aria-label", text);
  byId("chart-figure").hidden = most === 0;
  byId("chart-text").textContent = text;
}

function paint() {
  paintNow(state);
  for (const { id, title, columns, rows, empty = "", isRare } of PANELS) {
    const found = rows(state);
    byId(`${id}-panel`).hidden = Boolean(isRare) && !found.length;
    paintTable(byId(id), { title, columns, rows: found, empty });
  }
  byId("all").hidden = false;
}

/* ---- Asking ---- */

const secondsToday = () => Math.max(1, Math.ceil((Date.now() - new Date().setHours(0, 0, 0, 0)) / 1000));

async function ask() {
  if (state.isAsking || keyForm.isOpen) return;
  const keyThen = session.key;
  state.isAsking = true;
  try {
    const overview = await api("GET", "/v1/operator/overview");
    if (Date.now() - state.rareAt >= RARELY_MILLISECONDS) {
      const paths = [`costs?seconds=${secondsToday()}`, "audit", "queue"];
      const [costs, audit, queue] = (await Promise.all(paths.map((path) => api("GET", `/v1/operator/${path}`)))).map((page) => page.items);
      Object.assign(state, { costs, audit, queue, rareAt: Date.now() });
    }
    if (session.key !== keyThen) return;
    state.overview = overview;
    paint();
    await paintDetail();
  } catch (problem) {
    if (problem.code === "insufficient_scope") session.onRefused("This key lacks the scope admin.");
    else if (problem.status >= 400 && problem.status < 500) clock.quietUntil = Date.now() + ASK_MILLISECONDS;
  } finally {
    state.isAsking = false;
    state.askAt = Date.now() + ASK_MILLISECONDS;
  }
}

/** Runs once a second. */
function tick() {
  if (!document.hidden && Date.now() >= state.askAt && Date.now() >= clock.quietUntil) ask();
}

function askSoon() {
  Object.assign(state, { askAt: 0, rareAt: 0 });
  renewDetail();
  tick();
}

/* ---- Start ---- */

function onKey() {
  Object.assign(state, { overview: null, costs: [], audit: [], queue: [], rareAt: 0, askAt: 0 });
  byId("all").hidden = true;
  tick();
}

buildPanels();
startKey("darkroom-operator-key", () => { byId("all").hidden = true; }, onKey);
onDone(askSoon);
byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = byId("wanted").value.trim();
  const isJob = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i.test(wanted);
  if (wanted) location.hash = `#${isJob ? "job" : "workspace"}=${encodeURIComponent(wanted)}`;
});
byId("detail-close").addEventListener("click", closeDetail);
addEventListener("hashchange", () => { if (state.overview) paintDetail(); });
document.addEventListener("visibilitychange", tick);
setInterval(tick, 1000);
tick();

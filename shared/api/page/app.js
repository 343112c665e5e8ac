/**
 * Darkroom's page: submits jobs and follows them to their end.
 *
 * Events move the bar; GET tells everything else (images, previews, reasons, ends). So an event
 * that ends a job, makes it wait, or may bring a preview is followed by a GET, and a job nobody
 * heard of for a while is asked for.
 * One clock, `tick`, decides once a second who has a stream, who is polled and what is shown.
 */

import { paintReceipt } from "./receipt.js";

const JOBS = "/v1/generations";
const ASSETS = "/v1/assets";
const PROMPT_MAX = 4000;
const STREAMS_MAX = 3; // of this tab; browsers allow 6 connections to one host over HTTP/1.1,
const SLOTS = 4; //       so all tabs together leave two for requests
const PREVIEW_MILLISECONDS = 800; // between two questions for previews of one job
const KEY_ITEM = "darkroom-key";
const REASONS = {
  cancelled: "Cancelled",
  cost_limit: "It might have cost more than was allowed",
  charge_unknown: "Not tried again, as it may have been billed",
  corrupt_image: "What came was no whole picture",
  empty_result: "The image provider sent no picture",
  images_missing: "No image came",
  internal: "Something broke inside",
  invalid_request: "The request was not valid",
  output_rejected: "The picture was withheld by the image provider",
  prompt_rejected: "The prompt was rejected",
  provider_authentication: "The image provider refused our key",
  provider_overloaded: "The image provider was overloaded",
  provider_timeout: "The image provider did not answer in time",
  provider_unavailable: "The image provider was unavailable",
  quota_exceeded: "The account with the image provider is used up",
  rate_limited: "The image provider was too busy",
  request_rejected: "The image provider did not take the request",
  soft_time_limit: "It took too long",
  storage_unavailable: "The image store was unavailable",
  time_limit: "It took too long and was stopped",
  worker_lost: "The worker was lost",
};

const byId = (id) => document.getElementById(id);
const fields = { prompt: byId("prompt"), style: byId("style"), size: byId("size"), n: byId("count"), source_asset_id: byId("reference") };
const uploads = new WeakMap(); // file -> the asset that it was uploaded as
let reusedAsset = null; // of the job that is used again, until a file is chosen
const views = new Map(); // job id -> view: the job, its card, its stream
const clock = { skew: 0, failures: 0, quietUntil: 0 };
const recent = { cursor: null, loaded: false, loading: false, problem: null };
let apiKey = "";
let keyNeeded = false;
let styles = null;
let unanswered = null; // the submission last sent, until it is answered: {body, key}
let sending = false;
const tabs = globalThis.BroadcastChannel ? new BroadcastChannel("darkroom") : null; // of this browser

/* ---- Small things ---- */

const isEnded = (job) => job.status === "completed" || job.status === "failed";
const serverNow = () => Date.now() + clock.skew;
const backoff = (failures) => Math.min(10, 2 ** (failures - 1)) * 1000;
const words = (code) => REASONS[code] ?? String(code).replaceAll("_", " ");
const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const shorten = (text, most) => (text.length > most ? `${text.slice(0, most).trimEnd()}…` : text);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Shows a text, or hides the element where there is none. */
function show(element, text) {
  element.hidden = !text;
  if (text && element.textContent !== text) element.textContent = text;
}

/** Returns the address at this origin, whichever the server names: the CSP allows no other. */
function here(url) {
  const { pathname, search } = new URL(url, location.href);
  return new URL(location.origin + pathname + search);
}

function relativeTime(instant) {
  const seconds = Math.min(0, (Date.parse(instant) - serverNow()) / 1000);
  const format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (-seconds >= size) return format.format(Math.ceil(seconds / size), unit);
  }
  return seconds > -5 ? "just now" : format.format(Math.ceil(seconds / 5) * 5, "second");
}

/** crypto.randomUUID exists in secure contexts only. */
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const spoken = new Map();
/** Tells screen readers, gathering what comes at once: the last word about each subject. */
function announce(subject, text) {
  if (spoken.size === 0) {
    setTimeout(() => {
      byId("announcer").textContent = [...spoken.values()].join(" ");
      spoken.clear();
    }, 600);
  }
  spoken.set(subject, text);
}

/* ---- The API ---- */

/** What went wrong with a request: the server's problem, or status 0 where it was not reached. */
class Problem extends Error {
  constructor(status, body, retryAfter) {
    super(body?.detail ?? body?.title ?? `The server answered ${status}.`);
    Object.assign(this, { status, code: body?.code ?? "unknown", title: body?.title, errors: body?.errors ?? [] });
    const wait = Number(retryAfter ?? NaN);
    this.seconds = Number.isNaN(wait) ? Math.ceil((Date.parse(retryAfter) - serverNow()) / 1000) : wait;
  }
}

/**
 * Sends one request and returns the parsed body.
 * @throws {Problem}
 */
async function api(method, url, { body, idempotencyKey } = {}) {
  const keyThen = apiKey;
  const headers = { Accept: "application/json" };
  if (apiKey) headers.Authorization = `Bearer ${apiKey}`;
  if (body) headers["Content-Type"] = body instanceof Blob ? body.type : "application/json";
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  let response;
  let data;
  try {
    response = await fetch(here(url), { method, headers, body, cache: "no-store", signal: AbortSignal.timeout(20_000) });
    data = await response.json().catch((error) => { if (response.ok) throw error; });
  } catch {
    noteReachable("The server cannot be reached; trying again.");
    throw new Problem(0, { code: "unreachable", detail: "The server cannot be reached." });
  }
  const skew = Date.parse(response.headers.get("Date")) - Date.now();
  clock.skew = Math.abs(skew) > 2000 ? skew : 0;
  noteReachable(response.status >= 500 ? "The server has trouble answering; trying again." : "");
  if (response.ok) return data;
  if (response.status === 401 && data?.code === "unauthorized" && apiKey === keyThen) askForKey();
  throw new Problem(response.status, data, response.headers.get("Retry-After"));
}

/** Tells whether the server answers, and backs off while it does not. */
function noteReachable(trouble) {
  if (trouble && byId("connection").hidden) announce("connection", trouble);
  show(byId("connection"), trouble);
  if (!trouble) Object.assign(clock, { failures: 0, quietUntil: 0 });
  else if (Date.now() >= clock.quietUntil) {
    clock.failures += 1;
    clock.quietUntil = Date.now() + backoff(clock.failures);
  }
}

/* ---- The key ---- */

function askForKey() {
  byId("key-error").textContent = apiKey ? "The server does not accept this key." : "";
  if (keyNeeded) return;
  keyNeeded = true;
  byId("key-form").hidden = false;
  byId("api-key").focus();
  paintList();
}

function saveKey(event) {
  event.preventDefault();
  const key = byId("api-key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) {
    byId("key-error").textContent = key ? "A key has no blanks and only plain letters." : "Enter the key first.";
  } else {
    useKey(key);
  }
}

/** Starts over with this key, or with none. */
function useKey(key) {
  const hadFocus = byId("key-form").contains(document.activeElement);
  apiKey = key;
  try {
    if (key) sessionStorage.setItem(KEY_ITEM, key);
    else sessionStorage.removeItem(KEY_ITEM);
  } catch { /* storage is blocked: the key lives until the page is left */ }
  keyNeeded = false;
  byId("api-key").value = "";
  byId("key-form").hidden = true;
  byId("forget-key").hidden = !key;
  tellAlert("");
  if (hadFocus) fields.prompt.focus();
  for (const view of [...views.values()]) removeView(view);
  Object.assign(recent, { cursor: null, loaded: false, loading: false });
  loadRecent();
}

/* ---- The form ---- */

function tellAlert(title, text = "") {
  byId("alert").hidden = !title;
  byId("alert-title").textContent = title;
  byId("alert-text").textContent = text;
}

function tellField(name, message) {
  const input = fields[name];
  byId(`${input.id}-error`).textContent = message;
  if (message) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

/** Shows a refused submission: next to its fields, or as an alert that says what to do. */
function tellProblem(problem) {
  const others = [];
  for (const { field, message } of problem.errors) {
    const name = String(field).split(".")[0];
    if (Object.hasOwn(fields, name)) tellField(name, message.charAt(0).toUpperCase() + message.slice(1));
    else others.push(`${field} ${message}`);
  }
  Object.values(fields).find((input) => input.getAttribute("aria-invalid"))?.focus();
  if (problem.errors.length && !others.length) return;
  const at = new Date(Date.now() + problem.seconds * 1000).toLocaleTimeString();
  const wait = problem.seconds > 0 ? `in ${plural(problem.seconds, "second")}, at ${at}` : "in a moment";
  const when = `${problem.message} Try again ${wait}.`;
  if (problem.status === 0) tellAlert(problem.message, "Press Generate again: the same job is never made twice.");
  else if (problem.code === "unauthorized") tellAlert("A key is needed.", "Enter it, then press Generate again.");
  else if (problem.code === "too_many_open_jobs") tellAlert("Too many jobs are open.", when);
  else if (problem.status === 429 || problem.status >= 500) tellAlert(problem.title ?? "The server has trouble.", when);
  else tellAlert(problem.title ?? "The server refused this.", others.join("; ") || problem.message);
}

function checkLength() {
  const left = PROMPT_MAX - [...fields.prompt.value].length;
  const text = left < 0 ? `${-left} too many` : left <= 400 ? `${left} left` : "";
  byId("prompt-left").textContent = text;
  byId("prompt-left").classList.toggle("over", left < 0);
  return left >= 0;
}

/** Uploads the reference picture, once; returns its asset's id, or undefined for none. */
async function uploadReference() {
  const file = fields.source_asset_id.files[0];
  if (!file) return reusedAsset ?? undefined;
  if (!uploads.has(file)) uploads.set(file, (await api("POST", ASSETS, { body: file })).id);
  return uploads.get(file);
}

function describeReference() {
  if (fields.source_asset_id.files.length) reusedAsset = null;
  byId("reference-hint").textContent = reusedAsset
    ? "The same as of the job that is used again." : "What the picture shall show: a file of up to 4 MiB.";
}

async function submit(event) {
  event.preventDefault();
  if (sending) return;
  tellAlert("");
  for (const name of Object.keys(fields)) tellField(name, "");
  if (!checkLength()) {
    tellField("prompt", `The prompt may have ${PROMPT_MAX} characters.`);
    return fields.prompt.focus();
  }
  const { prompt, style, size, n } = fields;
  const text = [prompt.value, byId("script").value].join(" ").trim();
  setSending(true);
  const calm = pause(700); // the second click of a double click comes too early, however fast the answer
  let uploading = true;
  try {
    const asset = await uploadReference();
    uploading = false;
    const wanted = { prompt: text, style: style.value || undefined, size: size.value, n: Number(n.value), source_asset_id: asset };
    const body = JSON.stringify(wanted);
    if (unanswered?.body !== body) unanswered = { body, key: newKey() };
    const job = await api("POST", JOBS, { body, idempotencyKey: unanswered.key });
    unanswered = null;
    const view = upsert(job);
    paintList();
    tick();
    tabs?.postMessage("submitted");
    announce(job.id, "The job was accepted.");
    const { top } = view.card.getBoundingClientRect();
    if (top < 0 || top > innerHeight / 2) view.card.scrollIntoView();
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    const isOver = ![0, 401, 429].includes(problem.status) && problem.status < 500;
    if (isOver) unanswered = null;
    if (problem.status === 422) uploads.delete(fields.source_asset_id.files[0]); // it may have been deleted
    if (uploading && isOver) {
      tellField("source_asset_id", problem.message);
      fields.source_asset_id.focus();
    } else {
      tellProblem(problem);
    }
  } finally {
    byId("submit").textContent = "Generate";
    await calm;
    setSending(false);
  }
}

function setSending(on) {
  sending = on;
  byId("submit").setAttribute("aria-disabled", String(on));
  byId("submit").textContent = on ? "Sending…" : "Generate";
}

async function loadStyles() {
  const { items, default: preset, scripts } = await api("GET", "/v1/styles");
  styles = new Map(items.map((style) => [style.id, style]));
  fields.style.replaceChildren(...items.map(({ id, title }) => new Option(title, id, id === preset, id === preset)));
  const scenarios = scripts.map(({ tag, meaning }) => new Option(`${tag} ${meaning}`, tag));
  byId("script").replaceChildren(byId("script").options[0], ...scenarios);
  byId("script-field").hidden = !scenarios.length;
  describeStyle();
}

function describeStyle() {
  byId("style-hint").textContent = styles?.get(fields.style.value)?.description ?? "";
}

function useAgain({ prompt, style, size, n, source_asset_id: asset }) {
  fields.prompt.value = prompt;
  for (const [input, value] of [[fields.style, style], [fields.size, size]]) {
    if ([...input.options].some((option) => option.value === value)) input.value = value;
  }
  fields.n.value = n;
  byId("script").value = ""; // the prompt has it
  fields.source_asset_id.value = "";
  reusedAsset = asset;
  describeReference();
  checkLength();
  describeStyle();
  fields.prompt.focus();
}

/* ---- Cards ---- */

/** Clones a template; returns its element and its named parts. */
function build(template) {
  const root = byId(template).content.firstElementChild.cloneNode(true);
  const parts = {};
  for (const part of root.querySelectorAll("[data-part]")) parts[part.dataset.part] = part;
  return { root, parts };
}

/**
 * Shows a job, new or known, in its place by age.
 * @param {object} job As the API tells it.
 * @returns {object} Its view.
 */
function upsert(job) {
  const known = views.get(job.id);
  if (known) {
    if (isEnded(job)) apply(known, job);
    else if (!isEnded(known.job)) refresh(known);
    return known;
  }
  const { root: card, parts } = build("job-template");
  const view = { job, card, parts, stream: null, opening: false, over: false, lastId: "", events: 0, asking: false,
    askAgain: false, failures: 0, streamAt: 0, heardAt: Date.now(), askedAt: 0, cancelling: false, framesOf: null,
    looked: false, lookTimer: 0,
    age: Date.parse(job.created_at), fetchedAt: Date.now() };
  card.dataset.jobId = job.id;
  parts.title.id = `job-${job.id}`;
  card.setAttribute("aria-labelledby", parts.title.id);
  parts.cancel.addEventListener("click", () => cancel(view));
  parts.again.addEventListener("click", () => useAgain(view.job));
  const younger = [...views.values()].filter((other) => other.age > view.age).sort((a, b) => a.age - b.age);
  if (younger.length) younger[0].card.after(card);
  else byId("list").prepend(card);
  views.set(job.id, view);
  paint(view);
  return view;
}

function removeView(view) {
  closeStream(view);
  clearTimeout(view.lookTimer);
  view.card.remove();
  views.delete(view.job.id);
}

/** Takes a job as GET told it; events that came since the request was sent are newer. */
function apply(view, job, eventsThen = view.events) {
  if (isEnded(view.job) && !isEnded(job)) return;
  const before = view.job;
  const { status, progress, message, retry, error } = before;
  // A worker writes its progress into the row now and then; a stream that is open tells it at once.
  const lags = view.stream && view.events && status === "processing" && job.status === status && job.progress < progress;
  const outdated = !isEnded(job) && (view.events !== eventsThen || lags);
  view.job = outdated ? { ...job, status, progress, message, retry, error } : job;
  view.fetchedAt = view.heardAt = Date.now();
  paint(view, before);
  if (isEnded(job)) closeStream(view);
}

function statusWord(job) {
  if (job.status === "completed") return "Done";
  if (job.status === "failed") return job.error?.code === "cancelled" ? "Cancelled" : "Failed";
  if (job.status === "processing") return "In progress";
  return job.retry ? "Waiting to retry" : "Waiting";
}

function paint(view, before = null) {
  const { job, parts, card } = view;
  const ended = isEnded(job);
  const word = statusWord(job);
  card.dataset.status = job.status;
  card.dataset.look = ended && job.status === "failed" ? word.toLowerCase() : job.retry ? "retrying" : job.status;
  show(parts.status, word);
  const took = job.status === "completed" ? Math.round((Date.parse(job.finished_at) - view.age) / 1000) : 0;
  const facts = [styles?.get(job.style)?.title ?? job.style, job.size.replace("x", " × "), plural(job.n, "image")];
  if (job.attempt > 1) facts.push(ended ? plural(job.attempt, "attempt") : `attempt ${job.attempt} of ${job.max_attempts}`);
  if (job.source_asset_id) facts.push("from a picture");
  if (took > 0) facts.push(`took ${took < 120 ? `${took} s` : `${Math.round(took / 60)} min`}`);
  show(parts.facts, facts.join(" · "));
  parts.time.dateTime = job.created_at;
  parts.time.title = new Date(job.created_at).toLocaleString();
  show(parts.title, shorten(job.prompt, 160));
  show(parts.prompt, job.prompt);
  parts.whole.hidden = job.prompt.length <= 160;

  if (ended && parts.run.contains(document.activeElement)) parts.title.focus({ preventScroll: true });
  parts.run.hidden = ended;
  parts.progress.value = job.progress;
  parts.progress.setAttribute("aria-label", `Progress of ${shorten(job.prompt, 60)}`);
  show(parts.message, job.message || " ");
  show(parts.percent, `${job.progress}%`);
  parts.again.hidden = !ended;
  const cancelling = view.cancelling || Boolean(job.cancel_requested_at);
  parts.cancel.disabled = cancelling;
  parts.cancel.textContent = cancelling ? "Cancelling..." : "Cancel";

  paintFailure(view, before);
  paintFrames(view);
  paintReceipt(parts.receipt, byId("receipt-template"), job);
  paintClock(view);
  if (before && isEnded(before) !== ended) paintLamp();
  if (before && (statusWord(before) !== word || (ended && !isEnded(before)))) {
    announce(job.id, `${shorten(job.prompt, 60)}: ${word}. ${job.retry?.reason ?? ""}`);
  }
}

/** Shows why a job waits, why it ended, and what never came. */
function paintFailure({ job, parts }, before) {
  const { retry, error } = job;
  parts.retry.hidden = isEnded(job) || !retry;
  if (retry) {
    show(parts["retry-title"], `Attempt ${retry.attempt - 1} of ${retry.max_attempts}: ${words(retry.code).replace(/^The/, "the")}.`);
    show(parts["retry-reason"], retry.reason);
  }
  const failed = job.status === "failed";
  if (failed && before && !isEnded(before) && error?.code !== "cancelled") parts.error.setAttribute("role", "alert");
  const why = failed ? words(error?.code ?? "failed") : "";
  const message = error?.message ?? job.message;
  parts.error.hidden = !failed || (error?.code === "cancelled" && message === why); // the status says it
  show(parts["error-title"], why);
  show(parts["error-message"], failed && message !== why ? message : "");
  show(parts["error-code"], failed && error?.code !== "cancelled" ? (error?.code ?? "") : "");
  const missing = job.status === "completed" ? job.missing : 0;
  show(parts.missing, missing ? `${missing} of ${plural(job.n, "image")} never came.` : "");
}

/** Shows the images, and blank paper of their shape for those to come: nothing moves when they arrive. */
function paintFrames(view) {
  const { job, parts } = view;
  const count = isEnded(job) ? job.images.length : job.n;
  const framesOf = `${job.images.map((image) => image.id)}/${count}`;
  if (view.framesOf !== framesOf) {
    view.framesOf = framesOf;
    parts.frames.dataset.columns = [1, 1, 2, 3, 4, 5, 3, 4, 4, 3, 5][Math.min(count, 10)];
    parts.frames.hidden = count === 0;
    parts.frames.replaceChildren(...Array.from({ length: count }, (_, index) => buildFrame(view, index)));
  }
  parts.frames.querySelectorAll(".frame").forEach((frame, index) => {
    if (!job.images[index]) return void paintPreview(frame, job, index);
    const url = here(job.images[index].url);
    frame.querySelector(".print").href = url;
    url.searchParams.set("download", "1");
    frame.querySelector("[download]").href = url;
  });
}

function buildFrame(view, index) {
  const { job } = view;
  const { root, parts } = build("frame-template");
  const image = job.images[index];
  const [width, height] = image ? [image.width_px, image.height_px] : job.size.split("x");
  parts.open.style.aspectRatio = `${width} / ${height}`;
  parts.number.textContent = job.n > 1 ? `${index + 1} of ${job.n}` : "";
  if (!image) {
    root.classList.add("blank");
    root.setAttribute("aria-hidden", "true");
    return root;
  }
  const alt = shorten(job.prompt, 200) + (job.n > 1 ? `, image ${index + 1} of ${job.n}` : "");
  const img = Object.assign(new Image(width, height), { alt, loading: "lazy", decoding: "async" });
  img.dataset.testid = "job-image";
  img.addEventListener("error", () => renewImage(view, index, img, parts.number));
  img.src = here(image.url);
  parts.open.append(img);
  parts.download.hidden = false;
  parts.download.download = "";
  if (job.n > 1) parts.download.setAttribute("aria-label", `Download image ${index + 1}`);
  for (const link of [parts.open, parts.download]) link.addEventListener("click", (event) => renewLink(event, view));
  return root;
}

/** Shows what the picture looks like so far on its blank paper, which is blank again without. */
async function paintPreview(frame, job, position) {
  const preview = job.previews.find((each) => each.position === position);
  const number = String(preview?.number ?? "");
  if ((frame.dataset.preview ?? "") === number) return;
  frame.dataset.preview = number;
  let img = null;
  if (preview) {
    const alt = `Preview of ${shorten(job.prompt, 200)}${job.n > 1 ? `, image ${position + 1} of ${job.n}` : ""}`;
    img = Object.assign(new Image(preview.width_px, preview.height_px), { alt, src: here(preview.url) });
    img.dataset.testid = "job-preview";
    // It may be gone before it has come: then the picture comes, or the next attempt.
    const came = await img.decode().then(() => true, () => false);
    if (!came || frame.dataset.preview !== number) return;
  }
  frame.querySelector(".print").replaceChildren(...(img ? [img] : []));
  if (img) frame.removeAttribute("aria-hidden");
  else frame.setAttribute("aria-hidden", "true");
  const numbered = job.n > 1 ? `${position + 1} of ${job.n}` : "";
  frame.querySelector("[data-part=number]").textContent = [numbered, img ? "preview" : ""].filter(Boolean).join(" · ");
}

/** Addresses of images expire: after an error, asks for a new one, once. */
async function renewImage(view, index, img, caption) {
  if (!img.dataset.renewed) {
    img.dataset.renewed = "yes";
    await refresh(view);
    const url = view.job.images[index]?.url;
    if (url) {
      img.src = here(url);
      return;
    }
  }
  caption.textContent = "This image could not be loaded.";
}

/** The links beside an image that was loaded long ago have expired by now. */
async function renewLink(event, view) {
  if (Date.now() - view.fetchedAt < 45 * 60_000) return;
  event.preventDefault();
  const link = event.currentTarget;
  await refresh(view);
  if (Date.now() - view.fetchedAt < 60_000) link.click();
}

/** Shows what changes with time alone. */
function paintClock(view) {
  const { job, parts, stream } = view;
  show(parts.time, relativeTime(job.created_at));
  if (job.retry) {
    const seconds = Math.ceil((Date.parse(job.retry.next_attempt_at) - serverNow()) / 1000);
    const next = `Attempt ${job.retry.attempt} of ${job.retry.max_attempts}`;
    show(parts.countdown, seconds > 0 ? `${next} starts in ${seconds} s.` : `${next} starts any moment now.`);
  }
  const cut = stream && stream.source.readyState !== EventSource.OPEN && Date.now() - view.heardAt > 8000;
  show(parts.connection, cut && !isEnded(job) ? "Reconnecting…" : "");
}

async function cancel(view) {
  view.cancelling = true;
  view.parts.problem.textContent = "";
  view.parts.title.focus({ preventScroll: true }); // the button goes
  paint(view);
  const eventsThen = view.events;
  try {
    apply(view, await api("POST", view.job.urls.cancel), eventsThen);
  } catch (problem) {
    view.parts.problem.textContent = `It could not be cancelled: ${problem.message}`;
  }
  view.cancelling = false;
  paint(view);
}

/* ---- Following ---- */

/** Asks for a job; a call during another makes one more request after it. */
async function refresh(view) {
  if (view.asking) {
    view.askAgain = true;
    return view.asking;
  }
  view.askedAt = Date.now();
  const ask = async () => {
    do {
      view.askAgain = false;
      const eventsThen = view.events;
      apply(view, await api("GET", view.job.urls.self), eventsThen);
    } while (view.askAgain);
  };
  view.asking = ask().catch((problem) => {
    if (problem.status === 404) removeView(view);
  });
  await view.asking;
  view.asking = false;
}

/** Takes one of the stream slots all tabs share; returns what releases it, or null if none is free. */
async function takeSlot() {
  const held = [...views.values()].filter((view) => view.stream).length;
  if (!navigator.locks) return held < SLOTS / 2 ? () => {} : null;
  for (let slot = 1; slot <= SLOTS; slot += 1) {
    const taken = await new Promise((resolve) => {
      const hold = (lock) => (lock ? new Promise((release) => resolve(release)) : resolve(null));
      navigator.locks.request(`darkroom-stream-${slot}`, { ifAvailable: true }, hold).catch(() => resolve(null));
    });
    if (taken) return taken;
  }
  return null;
}

async function openStream(view) {
  view.opening = true;
  const release = await takeSlot();
  view.opening = false;
  if (!release) return; // polled meanwhile
  if (view.stream || isEnded(view.job) || document.hidden || !views.has(view.job.id)) return release();
  const url = here(view.job.urls.events);
  if (view.lastId) url.searchParams.set("last_event_id", view.lastId);
  const source = new EventSource(url);
  view.stream = { source, release };
  source.addEventListener("open", () => { view.heardAt = Date.now(); });
  source.addEventListener("message", (event) => onEvent(view, event));
  source.addEventListener("error", () => {
    // It reconnects by itself unless it was refused: token expired, nothing more to tell, too many.
    if (source.readyState !== EventSource.CLOSED) return;
    closeStream(view);
    view.failures += 1;
    view.streamAt = Date.now() + backoff(view.failures);
    refresh(view);
  });
}

function closeStream(view) {
  view.stream?.source.close();
  view.stream?.release();
  view.stream = null;
}

/** Takes one event: `{status, progress, message}`. */
function onEvent(view, event) {
  const { status, progress, message } = JSON.parse(event.data);
  const before = view.job;
  if (isEnded(before)) return;
  Object.assign(view, { lastId: event.lastEventId || view.lastId, events: view.events + 1, heardAt: Date.now(), failures: 0 });
  view.job = { ...before, progress, message };
  if (isEnded({ status })) {
    view.over = true; // no more events; GET tells how it ended, and is asked until it does
    closeStream(view);
  } else {
    Object.assign(view.job, { status, retry: null, error: null });
  }
  paint(view, before);
  if (view.over || (status === "pending" && message !== "Queued")) refresh(view);
  else lookForPreviews(view);
}

/**
 * Asks for the previews that a step of the picture may have brought: at the first step of an attempt,
 * and from then on where that has found any.
 */
function lookForPreviews(view) {
  const { status, progress, previews } = view.job;
  if (status !== "processing" || progress <= 10) view.looked = false;
  else if (progress < 90 && !view.lookTimer && (!view.looked || previews.length)) {
    view.looked = true;
    view.lookTimer = setTimeout(() => {
      view.lookTimer = 0;
      if (!isEnded(view.job) && !view.over) refresh(view);
    }, Math.max(0, view.askedAt + PREVIEW_MILLISECONDS - Date.now()));
  }
}

/** Shows how many jobs run, and returns them. */
function paintLamp() {
  const live = [...views.values()].filter((view) => !isEnded(view.job));
  document.documentElement.classList.toggle("running", live.length > 0);
  document.title = live.length ? `(${live.length}) Darkroom` : "Darkroom";
  return live;
}

/** The clock: who has a stream, who is polled, what time it is. */
function tick() {
  const now = Date.now();
  for (const view of views.values()) paintClock(view);
  const live = paintLamp().sort((a, b) => b.age - a.age);
  if (keyNeeded || now < clock.quietUntil) return;
  if (clock.failures || (!recent.loaded && !recent.loading)) return void loadRecent(); // asks whether the server is back
  live.forEach((view, rank) => {
    if (document.hidden || rank >= STREAMS_MAX || view.over) closeStream(view);
    else if (!view.stream && !view.opening && now >= view.streamAt) openStream(view);
    const open = view.stream?.source.readyState === EventSource.OPEN;
    const patience = document.hidden || open ? 20_000 : view.stream ? 5000 : 2500;
    if (now - Math.max(view.heardAt, view.askedAt) >= patience) refresh(view);
  });
}

/* ---- Recent jobs ---- */

async function loadRecent(more = false) {
  if (recent.loading) return;
  const keyThen = apiKey;
  recent.loading = true;
  paintList();
  try {
    const page = await api("GET", `${JOBS}?limit=12${more ? `&cursor=${encodeURIComponent(recent.cursor)}` : ""}`);
    if (apiKey !== keyThen) return;
    const fresh = page.items.filter((job) => !views.has(job.id));
    const gap = !more && recent.loaded && page.next_cursor && fresh.length === page.items.length;
    if (gap) [...views.values()].filter((view) => isEnded(view.job)).forEach(removeView);
    page.items.forEach(upsert);
    if (more || gap || !recent.loaded) recent.cursor = page.next_cursor;
    Object.assign(recent, { loaded: true, problem: null });
    if (more && fresh.length) views.get(fresh[0].id).parts.title.focus();
    if (!styles) loadStyles().then(() => views.forEach((view) => paint(view)), () => {});
  } catch (problem) {
    recent.problem = problem;
    if (problem.status >= 400 && problem.status < 500) clock.quietUntil = Date.now() + 5000;
  } finally {
    recent.loading = false;
    paintList();
    if (recent.loaded) tick();
  }
}

function paintList() {
  const problem = !recent.loading || !recent.loaded ? recent.problem : null;
  let kind = "loading";
  let title = "Looking for your jobs";
  let text = "";
  if (keyNeeded) [kind, title, text] = ["locked", "The door is closed", "Enter the API key to see the jobs of your workspace."];
  else if (problem) [kind, title, text] = ["broken", "The jobs could not be loaded", `${problem.message} ${recent.loaded ? "Press Refresh to try again." : "Trying again by itself."}`];
  else if (recent.loaded) [kind, title, text] = ["empty", "Nothing on the line yet", "Write what to show and press Generate. The pictures develop here."];
  byId("state").dataset.kind = kind;
  byId("state").hidden = views.size > 0 && !(problem?.status > 0);
  byId("state-title").textContent = title;
  byId("state-text").textContent = text;
  byId("more").hidden = !recent.cursor || keyNeeded || views.size === 0;
  byId("jobs").setAttribute("aria-busy", String(recent.loading));
}

/* ---- Start ---- */

try {
  apiKey = sessionStorage.getItem(KEY_ITEM) ?? "";
} catch { /* storage is blocked */ }
byId("forget-key").hidden = !apiKey;
byId("form").addEventListener("submit", submit);
byId("key-form").addEventListener("submit", saveKey);
byId("forget-key").addEventListener("click", () => useKey(""));
byId("refresh").addEventListener("click", () => loadRecent());
byId("more").addEventListener("click", () => loadRecent(true));
fields.prompt.addEventListener("input", checkLength);
fields.prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("form").requestSubmit();
});
fields.style.addEventListener("change", describeStyle);
fields.source_asset_id.addEventListener("change", describeReference);
describeReference();
document.addEventListener("visibilitychange", () => {
  if (document.hidden) views.forEach(closeStream);
  else if (!keyNeeded) loadRecent();
});
tabs?.addEventListener("message", () => { if (!document.hidden && !keyNeeded) loadRecent(); });
setInterval(tick, 1000);
loadRecent();

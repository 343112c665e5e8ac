/**
 * The card of a job: paints what the API says of it.
 *
 * The titles of statuses stand in `shared/status.py`, and the markup in `index.html`.
 */

import { here, isEnded, options, serverNow, statusOf } from "./api.js";
import { announce, build, byId, plural, relativeTime, shorten, show } from "./dom.js";
import { paintReceipt } from "./receipt.js";

const COLUMNS = [1, 1, 2, 3, 4, 5, 3, 4, 4, 3, 5]; // by the number of images
const TITLE_MAX = 160;

/** Builds an empty card; `again` and `cancel` are called with the view when their buttons are pressed. */
export function buildCard(job, view, { again, cancel }) {
  const { root: card, parts } = build("job-template");
  card.dataset.jobId = job.id;
  parts.title.id = `job-${job.id}`;
  card.setAttribute("aria-labelledby", parts.title.id);
  parts.again.addEventListener("click", () => again(view.job));
  parts.cancel.addEventListener("click", () => cancel(view));
  return { card, parts };
}

/** Paints all of a view; `before` is the job that it showed. */
export function paint(view, before = null) {
  const { job, parts, card } = view;
  const ended = isEnded(job);
  const word = statusTitle(job);
  const title = splitPrompt(job.prompt).text || job.prompt;
  card.dataset.status = job.status;
  card.dataset.look = job.retry ? "retrying" : job.error?.code === "cancelled" ? "cancelled" : job.status;
  show(parts.status, word);
  show(parts.facts, factsOf(job).join(" · "));
  parts.time.dateTime = job.created_at;
  parts.time.title = new Date(job.created_at).toLocaleString();
  show(parts.title, shorten(title, TITLE_MAX));
  show(parts.prompt, job.prompt);
  parts.whole.hidden = title.length <= TITLE_MAX;

  if (ended && parts.run.contains(document.activeElement)) parts.title.focus({ preventScroll: true });
  parts.run.hidden = ended;
  parts.progress.value = job.progress;
  parts.progress.setAttribute("aria-label", `Progress of ${shorten(title, 60)}`);
  show(parts.message, job.message || " ");
  show(parts.percent, `${job.progress}%`);
  parts.again.hidden = !ended;
  const cancelling = view.cancelling || Boolean(job.cancel_requested_at);
  parts.cancel.disabled = cancelling;
  parts.cancel.textContent = cancelling ? "Cancelling…" : "Cancel";

  paintFailure(view, before);
  paintFrames(view, title);
  paintReceipt(parts, job);
  paintClock(view);
  if (before && statusTitle(before) !== word) announce(job.id, `${shorten(title, 60)}: ${word}. ${job.retry?.reason ?? ""}`);
}

const styleTitle = (id) => options.styles.find((style) => style.id === id)?.title ?? id;
const errorTitle = (code) => options.errors.find((error) => error.code === code)?.title ?? String(code);

/** Returns the status of a job in words. */
function statusTitle(job) {
  if (job.retry) return "Waiting to retry";
  return job.error?.code === "cancelled" ? "Cancelled" : statusOf(job).title;
}

/** Returns the prompt without the tags that the mock provider obeys, and the names of these tags. */
function splitPrompt(prompt) {
  const names = options.scripts.map(({ tag }) => tag.match(/[a-z-]+/)[0]);
  if (!names.length) return { text: prompt, tags: [] };
  const pattern = new RegExp(`\\[\\[((?:${names.join("|")})(?::[^\\[\\]]*)?)\\]\\]`, "g");
  const tags = [...prompt.matchAll(pattern)].map(([, tag]) => tag);
  return { text: tags.length ? prompt.replace(pattern, " ").replace(/\s+/g, " ").trim() : prompt, tags };
}

function factsOf(job) {
  const facts = [styleTitle(job.style), job.size.replace("x", " × "), plural(job.n, "image")];
  if (job.attempt > 1) facts.push(isEnded(job) ? plural(job.attempt, "attempt") : `attempt ${job.attempt} of ${job.max_attempts}`);
  if (job.source_asset_id) facts.push("with reference");
  const { tags } = splitPrompt(job.prompt);
  if (tags.length) facts.push(`scenario ${tags.join(", ")}`);
  const took = job.images.length ? Math.round((Date.parse(job.finished_at) - Date.parse(job.created_at)) / 1000) : 0;
  if (took > 0) facts.push(`took ${took < 120 ? `${took} s` : `${Math.round(took / 60)} min`}`);
  return facts;
}

/** Shows why a job waits, why it failed, and which images are missing. */
function paintFailure({ job, parts }, before) {
  const { retry, error } = job;
  parts.retry.hidden = !retry;
  if (retry) {
    show(parts["retry-title"], `Attempt ${retry.attempt - 1} of ${retry.max_attempts}: ${errorTitle(retry.code).replace(/^The/, "the")}.`);
    show(parts["retry-reason"], retry.reason);
  }
  const { code, message } = error ?? { code: "failed", message: job.message };
  const why = job.status === "failed" ? errorTitle(code) : "";
  const isCancelled = code === "cancelled";
  if (why && before && !isEnded(before) && !isCancelled) parts.error.setAttribute("role", "alert");
  parts.error.hidden = !why || (isCancelled && message === why); // the status says it
  show(parts["error-title"], why);
  show(parts["error-message"], why && message !== why ? message : "");
  show(parts["error-code"], why && !isCancelled ? code : "");
  show(parts.missing, job.missing ? `${job.missing} of ${plural(job.n, "image")} could not be made.` : "");
}

/** Shows the images, and blank paper of their shape for those to come: nothing moves when they arrive. */
function paintFrames(view, title) {
  const { job, parts } = view;
  const count = isEnded(job) ? job.images.length : job.n;
  const framesOf = `${job.images.map((image) => image.id)}/${count}`;
  if (view.framesOf !== framesOf) {
    view.framesOf = framesOf;
    parts.frames.style.setProperty("--columns", COLUMNS[Math.min(count, 10)]);
    parts.frames.hidden = count === 0;
    parts.frames.replaceChildren(...Array.from({ length: count }, (_, index) => buildFrame(view, index, title)));
  }
  parts.frames.querySelectorAll(".frame").forEach((frame, index) => {
    if (!job.images[index]) return void paintPreview(frame, job, index, title);
    const url = here(job.images[index].url);
    const img = frame.querySelector("img");
    if (!img.naturalWidth) img.src = url; // addresses expire, perhaps before the image is scrolled to
    frame.querySelector(".print").href = url;
    url.searchParams.set("download", "1");
    frame.querySelector("[download]").href = url;
  });
}

const numberOf = (job, index) => (job.n > 1 ? `${index + 1} of ${job.n}` : "");
const altOf = (job, index, title) => [shorten(title, 200), job.n > 1 && `image ${numberOf(job, index)}`].filter(Boolean).join(", ");

function buildFrame(view, index, title) {
  const { job } = view;
  const { root, parts } = build("frame-template");
  const image = job.images[index];
  const [width, height] = image ? [image.width_px, image.height_px] : job.size.split("x");
  parts.open.style.aspectRatio = `${width} / ${height}`;
  parts.number.textContent = numberOf(job, index);
  if (!image) {
    root.classList.add("blank");
    root.setAttribute("aria-hidden", "true");
    return root;
  }
  const img = Object.assign(new Image(width, height), { alt: altOf(job, index, title), loading: "lazy", decoding: "async" });
  img.dataset.testid = "job-image";
  img.addEventListener("error", () => { parts.number.textContent = "This image could not be loaded."; });
  parts.open.append(img);
  parts.download.hidden = false;
  parts.download.download = "";
  if (job.n > 1) parts.download.setAttribute("aria-label", `Download image ${index + 1}`);
  return root;
}

/** Shows a preview on its blank paper, and removes it when the API lists it no more. */
async function paintPreview(frame, job, position, title) {
  const preview = job.previews.find((each) => each.position === position);
  const number = String(preview?.number ?? "");
  if ((frame.dataset.preview ?? "") === number) return;
  frame.dataset.preview = number;
  let img = null;
  if (preview) {
    const alt = `Preview of ${altOf(job, position, title)}`;
    img = Object.assign(new Image(preview.width_px, preview.height_px), { alt, src: here(preview.url) });
    img.dataset.testid = "job-preview";
    // A preview is deleted when its image is finished or its attempt ends, perhaps before it is loaded.
    const isLoaded = await img.decode().then(() => true, () => false);
    if (!isLoaded || frame.dataset.preview !== number) return;
  }
  frame.querySelector(".print").replaceChildren(...(img ? [img] : []));
  if (img) frame.removeAttribute("aria-hidden");
  else frame.setAttribute("aria-hidden", "true");
  frame.querySelector("[data-part=number]").textContent = [numberOf(job, position), img ? "preview" : ""].filter(Boolean).join(" · ");
}

/** Paints what changes with time alone. */
export function paintClock({ job, parts, stream, updatedAt }) {
  show(parts.time, relativeTime(job.created_at, serverNow()));
  if (job.retry) {
    const seconds = Math.ceil((Date.parse(job.retry.next_attempt_at) - serverNow()) / 1000);
    const next = `Attempt ${job.retry.attempt} of ${job.retry.max_attempts}`;
    show(parts.countdown, seconds > 0 ? `${next} starts in ${seconds} s.` : `${next} starts any moment now.`);
  }
  const isCut = stream && stream.source.readyState !== EventSource.OPEN && Date.now() - updatedAt > 8000;
  show(parts.connection, isCut && !isEnded(job) ? "Reconnecting…" : "");
}

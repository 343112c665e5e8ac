/**
 * The jobs on the page; `card.js` paints one. Each is followed to its end by its event stream, or else by polling.
 *
 * A stream with `detail=full` brings the job itself before the last of its new events. Only if it is missing are an
 * end and its images requested.
 */

import { api, backoff, clock, here, isEnded } from "./api.js";
import { buildCard, paint } from "./card.js";
import { byId } from "./dom.js";

const STREAMS_MAX = 3; // of this tab. Browsers allow 6 connections to one host over HTTP/1.1,
const SLOTS = 4; //       so all tabs together leave two for requests.
const ADDRESSES_MILLISECONDS = 45 * 60_000; // after which a job is requested for new addresses of its images

export const views = new Map(); // job id -> view: the job, its card, its stream
export const handlers = { again: () => {}, cancel };

/** Shows a job, new or known, in its place by age; returns its view. */
export function upsert(job) {
  const known = views.get(job.id);
  if (known) {
    if (isEnded(job)) apply(known, job);
    else if (!isEnded(known.job)) refresh(known);
    return known;
  }
  const now = Date.now();
  const view = { job, age: Date.parse(job.created_at), lastId: "", events: 0, failures: 0, streamAt: 0, askedAt: 0,
    updatedAt: now };
  Object.assign(view, buildCard(job, view, handlers));
  const younger = [...views.values()].filter((other) => other.age > view.age).sort((a, b) => a.age - b.age);
  if (younger.length) younger[0].card.after(view.card);
  else byId("list").prepend(view.card);
  views.set(job.id, view);
  paint(view);
  return view;
}

export function removeView(view) {
  closeStream(view);
  clearTimeout(view.lookTimer);
  view.card.remove();
  views.delete(view.job.id);
}

/** Takes a job that GET returned; events since the request was sent are newer. */
function apply(view, job, eventsThen = view.events) {
  if (isEnded(view.job) && !isEnded(job)) return;
  const before = view.job;
  const { status, progress, message, retry, error } = before;
  // A worker writes its progress into the row now and then. An open stream delivers it at once.
  const lags = view.stream && view.events && job.status === status && job.progress < progress && !retry;
  const isOutdated = !isEnded(job) && (view.events !== eventsThen || lags);
  view.job = isOutdated ? { ...job, status, progress, message, retry, error } : job;
  view.updatedAt = Date.now();
  paint(view, before);
  paintLamp();
  if (isEnded(job)) closeStream(view);
}

async function cancel(view) {
  view.cancelling = true;
  view.parts.problem.textContent = "";
  view.parts.title.focus({ preventScroll: true }); // the button disappears
  paint(view);
  const eventsThen = view.events;
  try {
    apply(view, await api("POST", view.job.urls.cancel), eventsThen);
  } catch (problem) {
    view.parts.problem.textContent = `The job could not be cancelled: ${problem.message}`;
  }
  view.cancelling = false;
  paint(view);
}

/** Requests a job; a call during another one makes one more request after it. */
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
  view.asking = null;
}

/** Takes one of the stream slots that all tabs share; returns a function that releases it, or null. */
async function takeSlot() {
  const held = [...views.values()].filter((view) => view.stream).length;
  if (!navigator.locks) return held < SLOTS / 2 ? () => {} : null;
  for (let slot = 1; slot <= SLOTS; slot += 1) {
    const release = await new Promise((resolve) => {
      const hold = (lock) => (lock ? new Promise((done) => resolve(done)) : resolve(null));
      navigator.locks.request(`darkroom-stream-${slot}`, { ifAvailable: true }, hold).catch(() => resolve(null));
    });
    if (release) return release;
  }
  return null;
}

async function openStream(view) {
  view.opening = true;
  const release = await takeSlot();
  view.opening = false;
  if (!release) return; // the job is polled
  if (view.stream || isEnded(view.job) || document.hidden || !views.has(view.job.id)) return release();
  const url = here(view.job.urls.events);
  url.searchParams.set("detail", "full");
  if (view.lastId) url.searchParams.set("last_event_id", view.lastId);
  const source = new EventSource(url);
  view.stream = { source, release };
  source.addEventListener("open", () => { view.updatedAt = Date.now(); });
  source.addEventListener("message", (event) => onEvent(view, event));
  source.addEventListener("job", (event) => apply(view, JSON.parse(event.data)));
  source.addEventListener("error", () => {
    // It reconnects by itself unless it was refused: the token expired, nothing follows, too many streams.
    if (source.readyState !== EventSource.CLOSED) return;
    closeStream(view);
    view.failures += 1;
    view.streamAt = Date.now() + backoff(view.failures);
    refresh(view);
  });
}

export function closeStream(view) {
  view.stream?.source.close();
  view.stream?.release();
  view.stream = null;
}

/** Takes one event: `{status, progress, message}`. It says nothing new if the job came just before it. */
function onEvent(view, event) {
  const { status, progress, message } = JSON.parse(event.data);
  const before = view.job;
  if (isEnded(before)) return;
  Object.assign(view, { lastId: event.lastEventId || view.lastId, events: view.events + 1, updatedAt: Date.now(), failures: 0 });
  if (before.status === status && before.progress === progress && before.message === message) return;
  view.job = { ...before, progress, message };
  if (isEnded({ status })) {
    view.isOver = true; // no more events follow; GET returns how it ended, and is repeated until it does
    closeStream(view);
  } else {
    Object.assign(view.job, { status, retry: null, error: null });
  }
  paint(view, before);
  paintLamp();
  if (view.isOver) refresh(view);
}

/** Decides, once a second, which job has a stream and which one is polled. */
export function followAll() {
  const now = Date.now();
  let rank = 0;
  for (const view of [...views.values()].sort((a, b) => b.age - a.age)) {
    const ended = isEnded(view.job);
    if (ended || document.hidden || rank >= STREAMS_MAX || view.isOver) closeStream(view);
    else if (!view.stream && !view.opening && now >= view.streamAt) openStream(view);
    const isStreaming = view.stream?.source.readyState === EventSource.OPEN;
    const patience = ended ? ADDRESSES_MILLISECONDS : document.hidden || isStreaming ? 20_000 : view.stream ? 5000 : 2500;
    if (now - Math.max(view.updatedAt, view.askedAt) >= patience) refresh(view);
    if (!ended) rank += 1;
  }
}

/** Lights the lamp while a job runs, and shows in the title how many have not ended. */
export function paintLamp() {
  const open = [...views.values()].filter(({ job }) => !isEnded(job));
  document.documentElement.classList.toggle("running", open.some(({ job }) => job.progress > 0));
  document.title = open.length ? `(${open.length}) Darkroom` : "Darkroom";
}

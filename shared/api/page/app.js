/** Darkroom's page: the list of jobs (each painted by `card.js`), and the clock. */

import { api, clock, isEnded, options, session } from "./api.js";
import { paintClock } from "./card.js";
import { byId } from "./dom.js";
import { focusForm, offerOptions, showAlert, startForm, useAgain } from "./form.js";
import { closeStream, followAll, handlers, paintLamp, removeView, upsert, views } from "./jobs.js";
import { keyForm, startKey } from "./key.js";

const recent = { cursor: null, isLoaded: false, isLoading: false, problem: null };
const tabs = globalThis.BroadcastChannel ? new BroadcastChannel("darkroom") : null; // of this browser

/** Starts over with another key, or with none. */
function onKey(hadFocus) {
  showAlert("");
  if (hadFocus) focusForm();
  [...views.values()].forEach(removeView);
  Object.assign(recent, { cursor: null, isLoaded: false, isLoading: false });
  loadRecent();
}

/* ---- Recent jobs ---- */

async function loadRecent(more = false) {
  if (recent.isLoading) return;
  const keyThen = session.key;
  recent.isLoading = true;
  paintList();
  try {
    if (!options.statuses.length) {
      Object.assign(options, await api("GET", "/v1/options"));
      offerOptions();
    }
    const page = await api("GET", `/v1/generations?limit=12${more ? `&cursor=${encodeURIComponent(recent.cursor)}` : ""}`);
    if (session.key !== keyThen) return;
    const fresh = page.items.filter((job) => !views.has(job.id));
    const hasGap = !more && recent.isLoaded && page.next_cursor && fresh.length === page.items.length;
    if (hasGap) [...views.values()].filter((view) => isEnded(view.job)).forEach(removeView);
    page.items.forEach(upsert);
    if (more || hasGap || !recent.isLoaded) recent.cursor = page.next_cursor;
    Object.assign(recent, { isLoaded: true, problem: null });
    if (more && fresh.length) views.get(fresh[0].id).parts.title.focus();
  } catch (problem) {
    recent.problem = problem;
    if (problem.status >= 400 && problem.status < 500) clock.quietUntil = Date.now() + 5000;
  } finally {
    recent.isLoading = false;
    paintList();
    if (recent.isLoaded) tick();
  }
}

function paintList() {
  const problem = !recent.isLoading || !recent.isLoaded ? recent.problem : null;
  let [kind, title, text] = ["loading", "Loading the jobs", ""];
  if (keyForm.isOpen) [kind, title, text] = ["locked", "An API key is required", "Enter the API key to see the jobs of your workspace."];
  else if (problem) [kind, title, text] = ["broken", "The jobs could not be loaded", `${problem.message} ${recent.isLoaded ? "Press Refresh to try again." : "Trying again."}`];
  else if (recent.isLoaded) [kind, title, text] = ["empty", "No images yet", "Write a prompt and press Generate, or start with one of these:"];
  byId("state").dataset.kind = kind;
  byId("state").hidden = views.size > 0 && !(problem?.status > 0);
  byId("state-title").textContent = title;
  byId("state-text").textContent = text;
  byId("samples").hidden = kind !== "empty";
  byId("more").hidden = !recent.cursor || keyForm.isOpen || views.size === 0;
  byId("jobs").setAttribute("aria-busy", String(recent.isLoading));
}

/** Runs once a second. */
function tick() {
  views.forEach(paintClock);
  paintLamp();
  if (keyForm.isOpen || Date.now() < clock.quietUntil) return;
  // While the server is unreachable, this request finds out when it is back.
  if (clock.failures || (!recent.isLoaded && !recent.isLoading)) loadRecent();
  else followAll();
}

function onSubmitted(job) {
  const view = upsert(job);
  paintList();
  tick();
  tabs?.postMessage("submitted");
  const { top } = view.card.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) view.card.scrollIntoView();
}

/* ---- Start ---- */

startKey("darkroom-key", paintList, onKey);
handlers.again = useAgain;
startForm(onSubmitted);
byId("refresh").addEventListener("click", () => loadRecent());
byId("more").addEventListener("click", () => loadRecent(true));
document.addEventListener("visibilitychange", () => {
  if (document.hidden) views.forEach(closeStream);
  else if (!keyForm.isOpen) loadRecent();
});
tabs?.addEventListener("message", () => { if (!document.hidden && !keyForm.isOpen) loadRecent(); });
setInterval(tick, 1000);
loadRecent();

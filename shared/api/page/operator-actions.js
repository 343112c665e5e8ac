/** What operators change: each action is confirmed, and the server notes it in the audit. */

import { api } from "./api.js";
import { announce, byId, make } from "./dom.js";

const dialog = byId("confirm");
const pending = { run: null, after: () => {} };

/** Sets what is called after an action. */
export function onDone(after) {
  pending.after = after;
}

/**
 * Asks before it runs.
 * @param fields Elements of a form, which `run` reads.
 */
function ask({ title, text, label, fields = [], run }) {
  pending.run = run;
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-fields").replaceChildren(...fields);
  byId("confirm-error").textContent = "";
  Object.assign(byId("confirm-yes"), { textContent: label, disabled: false });
  dialog.showModal();
}

byId("confirm-no").addEventListener("click", () => dialog.close());
byId("confirm-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const yes = byId("confirm-yes");
  if (yes.disabled) return;
  yes.disabled = true;
  try {
    const done = await pending.run();
    dialog.close();
    announce("action", `${byId("confirm-title").textContent.replace("?", "")}: done.`);
    pending.after(done);
  } catch (problem) {
    byId("confirm-error").textContent = problem.message;
  }
  yes.disabled = false;
});

const change = (kind, body) => api("PATCH", `/v1/operator/${kind}s`, { body: JSON.stringify(body) });

export function cancelJob(job) {
  ask({ title: `Cancel job ${job.id.slice(0, 8)}?`, label: "Cancel the job",
    text: "If it waits, it ends at once. If it runs, it ends at its next step; the provider may charge for the call.",
    run: () => api("POST", `/v1/operator/jobs/${job.id}/cancel`) });
}

export function retryJob(job, onRetried) {
  ask({ title: `Retry job ${job.id.slice(0, 8)}?`, label: "Retry the job",
    text: "Its order runs once more, as a new job. The provider charges for that.",
    run: async () => onRetried(await api("POST", `/v1/operator/jobs/${job.id}/retry`)) });
}

/** Pauses or resumes a workspace or a provider. */
export function setPaused(kind, name, isPaused) {
  const field = kind === "workspace" ? "workspace_id" : "provider";
  ask({ title: `${isPaused ? "Pause" : "Resume"} ${kind} ${name}?`, label: isPaused ? "Pause" : "Resume",
    text: isPaused ? "Its jobs are accepted and wait. Those that run go on." : "The jobs that wait for it start within seconds, in the cloud within a minute.",
    run: () => change(kind, { [field]: name, is_paused: isPaused }) });
}

const LIMITS = { open_jobs: "Open jobs", running_jobs: "Running jobs", submissions_per_minute: "Submissions a minute",
  cost_per_day: "Micro-dollars a day", cost_per_month: "Micro-dollars a month" };

function buildField(name, title, value, placeholder, type) {
  const input = make("input", { id: `limit-${name}`, value, placeholder, type, inputMode: type === "number" ? "numeric" : "text" });
  if (type === "number") Object.assign(input, { min: 0, step: 1 });
  return make("div", { className: "field" }, make("label", { htmlFor: input.id, textContent: title }), input);
}

/** Sets the limits of a workspace; an empty field brings back the default. */
export function setLimits(limits) {
  const fields = Object.entries(LIMITS).map(([name, title]) =>
    buildField(name, title, limits[name] ?? "", `default: ${limits.defaults[name] ?? "any number"}`, "number"));
  fields.push(buildField("models", "Models, separated by commas", (limits.models ?? []).join(", "), "default: all", "text"));
  ask({ title: `Limits of ${limits.workspace_id}`, label: "Set limits", fields,
    text: "They hold from the next request on. An empty field means the default.",
    run: () => {
      const number = (name) => (byId(`limit-${name}`).value === "" ? null : Number(byId(`limit-${name}`).value));
      const models = byId("limit-models").value.split(",").map((model) => model.trim()).filter(Boolean);
      const wanted = { ...Object.fromEntries(Object.keys(LIMITS).map((name) => [name, number(name)])), models: models.length ? models : null };
      const changed = Object.entries(wanted).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(limits[name]));
      return change("workspace", { workspace_id: limits.workspace_id, ...Object.fromEntries(changed) });
    } });
}

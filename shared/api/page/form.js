/** The form: what may be asked for, samples and jobs to use again, and submission. */

import { Problem, api, options } from "./api.js";
import { announce, byId, plural } from "./dom.js";

const fields = { prompt: byId("prompt"), style: byId("style"), size: byId("size"), n: byId("count"), source_asset_id: byId("reference") };
const script = byId("script");
const uploads = new WeakMap(); // file -> the id of the asset that it was uploaded as
const narrow = matchMedia("(max-width: 34rem)");
let reusedAsset = null; // of the job that is used again, until a file is chosen
let unanswered = null; // the last submission, until it is answered: {body, key}
let isSending = false;

// crypto.randomUUID exists in secure contexts only.
const newKey = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Offers what the options of the API list. */
export function offerOptions() {
  const { styles, default_style: style, sizes, default_size: size, scripts, images_max: most } = options;
  fields.style.replaceChildren(...styles.map(({ id, title }) => new Option(title, id, id === style, id === style)));
  fields.size.replaceChildren(...sizes.map((name) => new Option(sizeTitle(name), name, name === size, name === size)));
  script.replaceChildren(script.options[0], ...scripts.map(({ tag, meaning }) => new Option(`${tag} ${meaning}`, tag)));
  byId("script-field").hidden = !scripts.length;
  fields.n.max = most;
  fields.source_asset_id.accept = options.upload_media_types.join();
  describe();
}

function sizeTitle(name) {
  const [width, height] = name.split("x").map(Number);
  return `${width} × ${height}, ${width === height ? "square" : width < height ? "portrait" : "landscape"}`;
}

/** Brings the hints beside the fields up to date. */
function describe() {
  const style = options.styles.find(({ id }) => id === fields.style.value);
  byId("style-hint").textContent = style?.description ?? "";
  byId("style-name").textContent = style?.title ?? "";
  if (fields.source_asset_id.files.length) reusedAsset = null;
  byId("reference-hint").textContent = reusedAsset
    ? "The same as in the job that you use again." : `An image to show, of up to ${options.upload_max_bytes / 2 ** 20} MiB.`;
  const left = options.prompt_max_chars - [...fields.prompt.value].length;
  byId("prompt-left").textContent = left < 0 ? `${-left} too many` : left <= 400 ? `${left} left` : "";
  byId("prompt-left").classList.toggle("over", left < 0);
}

function fill({ prompt, style, size = fields.size.value, n = fields.n.value, source_asset_id: asset = null }) {
  // A tag of the picker goes back into the picker. Others stay in the prompt.
  const tag = options.scripts.find((each) => prompt.includes(each.tag))?.tag ?? "";
  fields.prompt.value = prompt.replace(tag, "").trim();
  script.value = tag;
  for (const [input, value] of [[fields.style, style], [fields.size, size]]) {
    if ([...input.options].some((option) => option.value === value)) input.value = value;
  }
  fields.n.value = n;
  fields.source_asset_id.value = "";
  reusedAsset = asset;
  describe();
}

/** Fills the form with what a job asked for. */
export function useAgain(job) {
  fill(job);
  fields.prompt.focus();
}

function useSample({ currentTarget: sample }) {
  fill({ prompt: sample.firstElementChild.alt, style: sample.dataset.style });
  byId("submit").focus();
  announce("form", "The prompt and the style are filled in. Press Generate.");
}

export function showAlert(title, text = "") {
  byId("alert").hidden = !title;
  byId("alert-title").textContent = title;
  byId("alert-text").textContent = text;
}

function showFieldError(name, message) {
  const input = fields[name];
  byId(`${input.id}-error`).textContent = message;
  if (message) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  if (message && byId("choices").contains(input)) byId("choices").open = true;
}

/** Shows a refused submission: next to its fields, or as an alert that says what to do. */
function showProblem(problem) {
  const others = [];
  for (const { field, message } of problem.errors) {
    const name = String(field).split(".")[0];
    if (Object.hasOwn(fields, name)) showFieldError(name, message.charAt(0).toUpperCase() + message.slice(1));
    else others.push(`${field} ${message}`);
  }
  Object.values(fields).find((input) => input.getAttribute("aria-invalid"))?.focus();
  if (problem.errors.length && !others.length) return;
  const wait = problem.seconds > 0 ? ` in ${plural(problem.seconds, "second")}` : "";
  const advice = isRefused(problem) ? "" : `Press Generate again${wait}: the same job is never made twice.`;
  showAlert(problem.title ?? "The job was not submitted", `${others.join("; ") || problem.message} ${advice}`);
}

/** Whether the answer stays the same when the request is repeated. */
const isRefused = ({ status }) => ![0, 401, 429].includes(status) && status < 500;

/** Uploads the reference image, once; returns the id of its asset, or undefined. */
async function uploadReference() {
  const file = fields.source_asset_id.files[0];
  if (!file) return reusedAsset ?? undefined;
  if (!uploads.has(file)) uploads.set(file, (await api("POST", "/v1/assets", { body: file })).id);
  return uploads.get(file);
}

async function submit(onSubmitted) {
  if (isSending) return;
  showAlert("");
  for (const name of Object.keys(fields)) showFieldError(name, "");
  setSending(true);
  // The second click of a double click comes within this time, however fast the answer is.
  const calm = new Promise((resolve) => setTimeout(resolve, 700));
  let isUploading = true;
  try {
    const asset = await uploadReference();
    isUploading = false;
    const { prompt, style, size, n } = fields;
    const text = [prompt.value, script.value].join(" ").trim();
    const body = JSON.stringify({ prompt: text, style: style.value || undefined, size: size.value || undefined, n: Number(n.value), source_asset_id: asset });
    if (unanswered?.body !== body) unanswered = { body, key: newKey() };
    const job = await api("POST", "/v1/generations", { body, idempotencyKey: unanswered.key });
    unanswered = null;
    announce(job.id, "The job was accepted.");
    onSubmitted(job);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    if (isRefused(problem)) unanswered = null;
    if (problem.status === 422) uploads.delete(fields.source_asset_id.files[0]); // it may have been deleted
    if (isUploading && isRefused(problem)) {
      showFieldError("source_asset_id", problem.message);
      fields.source_asset_id.focus();
    } else {
      showProblem(problem);
    }
  } finally {
    byId("submit").textContent = "Generate";
    await calm;
    setSending(false);
  }
}

function setSending(isOn) {
  isSending = isOn;
  byId("submit").setAttribute("aria-disabled", String(isOn));
  byId("submit").textContent = isOn ? "Sending…" : "Generate";
}

/** Starts the form; `onSubmitted` receives each accepted job. */
export function startForm(onSubmitted) {
  const fold = () => { byId("choices").open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    submit(onSubmitted);
  });
  byId("form").addEventListener("input", describe);
  fields.prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("form").requestSubmit();
  });
  byId("samples").querySelectorAll("button").forEach((sample) => sample.addEventListener("click", useSample));
}

export const focusForm = () => fields.prompt.focus();

/** Requests to the API, its options, and whether it can be reached. */

import { announce, byId, show } from "./dom.js";

export const clock = { skew: 0, failures: 0, quietUntil: 0 };
export const session = { key: "", onRefused: () => {} };
export const options = { statuses: [], errors: [], styles: [], scripts: [] };

export const serverNow = () => Date.now() + clock.skew;
export const backoff = (failures) => Math.min(10, 2 ** (failures - 1)) * 1000;

/**
 * Returns the address at this origin, whatever host the server names: the CSP allows no other. A path of the API lies
 * beside this page.
 */
export function here(url) {
  const { pathname, search } = new URL(url.replace(/^\//, ""), location.href);
  return new URL(location.origin + pathname + search);
}

/** Why a request failed: the problem that the server returned, or status 0 if it was not reached. */
export class Problem extends Error {
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
export async function api(method, url, { body, idempotencyKey } = {}) {
  const keyThen = session.key;
  const headers = { Accept: "application/json" };
  if (keyThen) headers.Authorization = `Bearer ${keyThen}`;
  if (body) headers["Content-Type"] = body instanceof Blob ? body.type : "application/json";
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  let response;
  let data;
  try {
    response = await fetch(here(url), { method, headers, body, cache: "no-store", signal: AbortSignal.timeout(20_000) });
    data = await response.json().catch((error) => { if (response.ok) throw error; });
  } catch {
    noteReachable("The server cannot be reached. Trying again.");
    throw new Problem(0, { code: "unreachable", detail: "The server cannot be reached." });
  }
  const skew = Date.parse(response.headers.get("Date")) - Date.now();
  clock.skew = Math.abs(skew) > 2000 ? skew : 0;
  noteReachable(response.status >= 500 ? "The server has trouble answering. Trying again." : "");
  if (response.ok) return data;
  if (response.status === 401 && data?.code === "unauthorized" && session.key === keyThen) session.onRefused();
  throw new Problem(response.status, data, response.headers.get("Retry-After"));
}

/** Shows whether the server answers, and backs off while it does not. */
function noteReachable(trouble) {
  if (trouble && byId("connection").hidden) announce("connection", trouble);
  show(byId("connection"), trouble);
  if (!trouble) Object.assign(clock, { failures: 0, quietUntil: 0 });
  else if (Date.now() >= clock.quietUntil) {
    clock.failures += 1;
    clock.quietUntil = Date.now() + backoff(clock.failures);
  }
}

export const statusOf = (job) => options.statuses.find(({ status }) => status === job.status);
export const isEnded = (job) => statusOf(job).is_final;

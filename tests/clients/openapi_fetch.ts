// Runs a job with the types of openapi-typescript.
import assert from "node:assert/strict";

import createClient from "openapi-fetch";

import type { components, paths } from "./schema.js";

const { API_URL, API_KEY } = process.env;
const headers = { Authorization: `Bearer ${API_KEY}` };
const api = createClient<paths>({ baseUrl: API_URL, headers });

const { data: job, error } = await api.POST("/v1/generations", {
  body: { prompt: "A ceramic mug" },
});
if (job === undefined) throw new Error(`${error.code}: ${error.detail}`);
if (!("id" in job)) throw new Error("a quote");
assert.equal(job.size, "1024x1024");

const params = { path: { job_id: job.id } };
const events = await api.GET("/v1/generations/{job_id}/events", { params, parseAs: "text" });
const [, data] = /^data: (.*)$/m.exec(String(events.data)) ?? [];
const first: components["schemas"]["EventBody"] = JSON.parse(data ?? "");
assert.equal(first.message, "Queued");

const { data: done } = await api.GET("/v1/generations/{job_id}", {
  params: { ...params, header: { prefer: "wait=20" } },
});
assert.equal(done?.status, "completed");
const image = await fetch(new URL(done.images[0]?.url ?? "", API_URL));
assert.equal(image.headers.get("content-type"), "image/png");

const { error: problem } = await api.DELETE("/v1/assets/{asset_id}", {
  params: { path: { asset_id: job.id } },
});
assert.equal(problem?.code, "not_found" satisfies components["schemas"]["ProblemCode"]);
console.log(done.message);

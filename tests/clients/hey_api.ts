// Runs a job with the client that @hey-api/openapi-ts generates.
import assert from "node:assert/strict";

import { client } from "./hey_api/client.gen.js";
import {
  createGeneration,
  deleteAsset,
  type EventBody,
  followGeneration,
  getGeneration,
  type ProblemCode,
} from "./hey_api/index.js";

client.setConfig({ baseUrl: process.env.API_URL, auth: process.env.API_KEY });

const { data: job } = await createGeneration({
  body: { prompt: "A ceramic mug" },
  throwOnError: true,
});
if (!("id" in job)) throw new Error("a quote");
const path = { job_id: job.id };

const messages = [];
const { stream } = await followGeneration({ path });
for await (const event of stream) messages.push((event as EventBody).message);
assert.equal(messages[0], "Queued");
assert.equal(messages.at(-1), "Completed");

const { data: done } = await getGeneration({ path, throwOnError: true });
assert.equal(done.status, "completed");
assert.equal(done.images.length, 1);

const { error } = await deleteAsset({ path: { asset_id: job.id } });
assert.equal(error?.code, "not_found" satisfies ProblemCode);
console.log(done.message);

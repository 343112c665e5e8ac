// Makes, edits and streams images with OpenAI's own SDK; has requests refused.
import assert from "node:assert/strict";

import OpenAI, { toFile } from "openai";

const { API_URL, API_KEY } = process.env;
const openai = new OpenAI({ apiKey: API_KEY, baseURL: `${API_URL}/v1` });

function check(image: string | undefined): Buffer {
  const data = Buffer.from(image ?? "", "base64");
  assert.equal(data.subarray(1, 4).toString(), "PNG");
  return data;
}

const { data: made, response } = await openai.images
  .generate({
    model: "gpt-image-1",
    prompt: "A ceramic mug",
    n: 1,
    size: "auto",
    quality: "auto",
    background: "auto",
    output_format: "png",
    output_compression: 100,
  })
  .withResponse();
const picture = check(made.data?.[0]?.b64_json);
assert.equal(made.size, "1024x1024");
assert.equal(made.usage?.total_tokens, 0);
const job = await fetch(
  `${API_URL}/v1/generations/${response.headers.get("x-darkroom-job")}`,
  { headers: { Authorization: `Bearer ${API_KEY}` } },
).then((answer) => answer.json());
assert.equal(job.status, "completed");

const edited = await openai.images.edit({
  image: [await toFile(picture, "mug.png", { type: "image/png" })],
  prompt: "A blue mug",
  size: "256x256",
});
check(edited.data?.[0]?.b64_json);

const stream = await openai.images.generate({
  prompt: "A ceramic mug [[preview]] [[slow:2]]",
  size: "256x256",
  stream: true,
  partial_images: 1,
});
const types: string[] = [];
for await (const event of stream) {
  check(event.b64_json);
  types.push(event.type);
}
assert.deepEqual(types, ["image_generation.partial_image", "image_generation.completed"]);

const { data: models } = await openai.models.list();
assert.equal(models[0].id, "mock-1");

async function refused(request: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const error = await request.then(() => undefined, (reason: unknown) => reason);
  assert(error instanceof OpenAI.APIError);
  return error;
}
const small = { size: "256x256" } as const;
const rejected = await refused(openai.images.generate({ prompt: "A mug [[reject]]", ...small }));
assert(rejected instanceof OpenAI.BadRequestError);
assert.equal(rejected.code, "moderation_blocked");
const away = await refused(openai.images.generate({ prompt: "A mug [[fail:9]]", ...small }));
assert(away instanceof OpenAI.InternalServerError);
assert.equal(away.code, "provider_unavailable");
const unknown = await refused(openai.embeddings.create({ model: "gpt-9", input: "A mug" }));
assert(unknown instanceof OpenAI.NotFoundError);
const stranger = new OpenAI({ apiKey: "sk-wrong", baseURL: `${API_URL}/v1` });
const wrong = await refused(stranger.models.list());
assert(wrong instanceof OpenAI.AuthenticationError);
assert.equal(wrong.code, "invalid_api_key");
console.log("Completed");

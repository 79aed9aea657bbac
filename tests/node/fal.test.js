// fal's own client for Node, unmodified: its middleware leads the queue's address to ours.
import assert from "node:assert/strict";
import { createHash, createPublicKey, verify } from "node:crypto";
import { test } from "node:test";
import { createFalClient } from "@fal-ai/client";
import { receiving } from "./receiver.js";

const fal = createFalClient({
  credentials: process.env.DARKROOM_KEY,
  requestMiddleware: async (request) => ({
    ...request,
    url: request.url.replace("https://queue.fal.run", process.env.BASE_URL),
  }),
});
const APP = "fal-ai/seedream-3-0-t2i-250415";
const input = { prompt: "A lighthouse", image_size: { width: 512, height: 512 } };

test("subscribe sees the states and gives the result", async () => {
  const seen = [];
  const { data, requestId } = await fal.subscribe(APP, {
    input,
    logs: true,
    pollInterval: 100,
    onQueueUpdate: (update) => seen.push(update.status),
  });
  assert.equal(seen.at(-1), "COMPLETED");
  assert.equal(data.images[0].width, 512);
  assert.equal(data.images[0].content_type, "image/png");
  assert.deepEqual((await fal.queue.result(APP, { requestId })).data, data);
});

test("states come as events", async () => {
  const { request_id: requestId } = await fal.queue.submit(APP, { input });
  const last = await fal.queue.subscribeToStatus(APP, { requestId, mode: "streaming", connectionMode: "server" });
  assert.equal(last.status, "COMPLETED");
});

test("what has ended cannot be cancelled", async () => {
  const { request_id: requestId } = await fal.queue.submit(APP, { input, priority: "low" });
  await fal.queue.subscribeToStatus(APP, { requestId, pollInterval: 100 });
  await assert.rejects(fal.queue.cancel(APP, { requestId }), (error) => error.status === 400);
});

test("what is refused is an ApiError", async () => {
  await assert.rejects(fal.queue.submit("fal-ai/no-such-model", { input }), (error) => error.status === 404);
});

test("a webhook is signed as fal's documents say", async () => {
  await receiving(async (webhookUrl, told) => {
    const { request_id: requestId } = await fal.queue.submit(APP, { input, webhookUrl });
    const { headers, body } = await told;
    const { keys } = await (await fetch(`${process.env.BASE_URL}/.well-known/jwks.json`)).json();
    const said = ["request-id", "user-id", "timestamp"].map((name) => headers[`x-fal-webhook-${name}`]);
    const message = [...said, createHash("sha256").update(body).digest("hex")].join("\n");
    const signature = Buffer.from(headers["x-fal-webhook-signature"], "hex");
    const fits = (key) => verify(null, Buffer.from(message), createPublicKey({ key, format: "jwk" }), signature);
    assert.ok(keys.some(fits));
    assert.equal(said[0], requestId);
    assert.equal(JSON.parse(body).status, "OK");
  });
});

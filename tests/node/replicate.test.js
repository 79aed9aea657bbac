// Replicate's own client for Node, unmodified: only its base address is ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import Replicate, { validateWebhook } from "replicate";
import { receiving } from "./receiver.js";

const client = new Replicate({ auth: process.env.DARKROOM_KEY, baseUrl: process.env.BASE_URL });
const MODEL = "bytedance/seedream-3-0-t2i-250415";
const input = { prompt: "A lighthouse", size: "512x512" };

test("run gives the files", async () => {
  const files = await client.run(MODEL, { input: { ...input, num_outputs: 2 } });
  assert.deepEqual(files.map((file) => file.url().protocol), ["https:", "https:"]);
});

test("a prediction is made, followed and listed", async () => {
  const made = await client.predictions.create({ model: MODEL, input });
  const done = await client.wait(made, { interval: 100 });
  assert.equal(done.status, "succeeded");
  assert.deepEqual((await client.predictions.get(made.id)).output, done.output);
  const ids = [];
  for await (const page of client.paginate(client.predictions.list)) ids.push(...page.map((each) => each.id));
  assert.ok(ids.includes(made.id));
});

test("an answer is held open, and a cancel too late changes nothing", async () => {
  const made = await client.predictions.create({ model: MODEL, input, wait: 30 });
  assert.equal(made.status, "succeeded");
  assert.equal((await client.predictions.cancel(made.id)).status, "succeeded");
});

test("a model that is not there is an ApiError", async () => {
  await assert.rejects(client.predictions.create({ model: "x/no-such-model", input }), (error) => {
    assert.equal(error.response.status, 404);
    return true;
  });
});

test("a text is read while it is written, and afterwards", async () => {
  const texts = [];
  for await (const { event, data } of client.stream("x/gpt-4o-mini", { input: { prompt: "A lighthouse" } })) {
    if (event === "output") texts.push(data);
  }
  const [{ output, urls }] = (await client.predictions.list()).results;
  assert.equal(texts.join(""), output);
  assert.match(await (await fetch(urls.stream)).text(), /event: done/);
});

test("a webhook is verified by the package", async () => {
  await receiving(async (webhook, told) => {
    const made = await client.predictions.create({ model: MODEL, input, webhook, webhook_events_filter: ["completed"] });
    const { headers, body } = await told;
    const { key } = await client.webhooks.default.secret.get();
    assert.equal(await validateWebhook({ headers, body }, key), true);
    assert.equal(await validateWebhook({ headers, body: body.replace("succeeded", "failed") }, key), false);
    assert.equal(JSON.parse(body).id, made.id);
  });
});

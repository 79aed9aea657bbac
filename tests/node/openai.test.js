// OpenAI's own SDK for Node, unmodified: only its base address is ours.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";

const baseURL = process.env.BASE_URL;
const client = new OpenAI({ baseURL, apiKey: process.env.DARKROOM_KEY });
const PAINTER = "seedream-3-0-t2i-250415";

test("pictures from words, by their addresses and as bytes", async () => {
  const request = { model: PAINTER, prompt: "A lighthouse", n: 2, size: "512x512" };
  const { data, response, request_id } = await client.images.generate(request).withResponse();
  assert.match(request_id, /./);
  assert.match(response.headers.get("x-ratelimit-remaining-requests"), /^\d+$/);
  assert.deepEqual(data.data.map((picture) => URL.canParse(picture.url)), [true, true]);

  const inside = await client.images.generate({ ...request, n: 1, response_format: "b64_json" });
  assert.ok(Buffer.from(inside.data[0].b64_json, "base64").length > 10);
});

test("pictures from pictures, streamed", async () => {
  const image = await toFile(Buffer.from("a picture"), "first.png", { type: "image/png" });
  const stream = await client.images.edit({ image, prompt: "At night", stream: true });
  const events = [];
  for await (const event of stream) events.push(event.type);
  assert.deepEqual(events, ["image_edit.completed"]);
});

test("a chat comes in pieces and is counted", async () => {
  const stream = await client.chat.completions.create({
    model: "gpt-4o-mini",
    messages: [{ role: "user", content: "a darkroom" }],
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, "About a darkroom: it is well said.");
  assert.equal(usage.completion_tokens, 9);
});

test("what is said is heard", async () => {
  const said = await client.audio.speech.create({ model: "a-voice", voice: "coral", input: "The light is red." });
  assert.match(said.headers.get("content-type"), /^audio\//);
  assert.ok((await said.arrayBuffer()).byteLength > 10);
});

test("a video is asked for, polled, downloaded, listed and deleted", async () => {
  let video = await client.videos.create({
    prompt: "A boat",
    model: "seedance-1-0-lite-t2v",
    seconds: "2",
    size: "1280x720",
  });
  while (video.status === "queued" || video.status === "in_progress") {
    await new Promise((resolve) => setTimeout(resolve, 100));
    video = await client.videos.retrieve(video.id);
  }
  assert.equal(video.status, "completed");
  const film = await client.videos.downloadContent(video.id);
  assert.equal(film.headers.get("content-type"), "video/mp4");
  assert.ok((await film.arrayBuffer()).byteLength > 10);
  const listed = [];
  for await (const each of client.videos.list()) listed.push(each.id);
  assert.deepEqual(listed, [video.id]);
  await client.videos.delete(video.id);
  await assert.rejects(client.videos.retrieve(video.id), OpenAI.NotFoundError);
});

test("a video starts from an address, and from no file of OpenAI's", async () => {
  const request = { prompt: "A boat", model: "seedance-1-0-lite-t2v" };
  const video = await client.videos.create({ ...request, input_reference: { image_url: process.env.START_URL } });
  assert.match(video.id, /^video_/);
  await assert.rejects(client.videos.create({ ...request, input_reference: { file_id: "file-1" } }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "input_reference.file_id");
    return true;
  });
});

test("texts are judged, and models are listed to their end", async () => {
  const { results } = await client.moderations.create({ input: ["a quiet harbour", "a torture chamber"] });
  assert.deepEqual(results.map((each) => each.flagged), [false, true]);
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(names.includes(PAINTER));
});

test("each refusal is a class of the SDK's", async () => {
  const stranger = new OpenAI({ baseURL, apiKey: "dk_nobodys" });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
  await assert.rejects(client.images.generate({ model: "no-such-model", prompt: "x" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
  await assert.rejects(client.images.generate({ prompt: "x", n: 99 }), OpenAI.BadRequestError);
});

test("no credits is a quota, asked for once", async () => {
  let asked = 0;
  const counting = (url, options) => {
    asked += 1;
    return fetch(url, options);
  };
  const poor = new OpenAI({ baseURL, apiKey: process.env.DARKROOM_POOR_KEY, fetch: counting });
  await assert.rejects(poor.images.generate({ prompt: "x" }), (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, "insufficient_quota");
    return true;
  });
  assert.equal(asked, 1);
});

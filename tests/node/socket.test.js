// socket.io-client for Node, unmodified: what the jaaz frontend does with it, at two replicas.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { io } from "socket.io-client";

const { FIRST_URL, SECOND_URL, TOKEN, OTHERS_TOKEN, CANVAS_ID } = process.env;
const opened = [];
after(() => opened.forEach((socket) => socket.disconnect()));

function open(url, token, options = {}) {
  const socket = io(url, { auth: { token }, forceNew: true, reconnection: false, ...options });
  opened.push(socket);
  return socket;
}

function heard(socket, event, suits = () => true) {
  return new Promise((resolve, reject) => {
    socket.on(event, (body) => suits(body) && resolve(body));
    socket.once("connect_error", reject);
  });
}

for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
  test(`a token opens a socket by ${transports.join(" and ")}`, async () => {
    const socket = open(FIRST_URL, TOKEN, { transports });
    assert.equal((await heard(socket, "connected")).status, "connected");
    const answer = heard(socket, "pong");
    socket.emit("ping", { at: 1 });
    assert.deepEqual(await answer, { at: 1 });
  });
}

test("nobody is let in, and hears why", async () => {
  const socket = open(FIRST_URL, "nonsense", { transports: ["websocket"] });
  await assert.rejects(heard(socket, "connected"), (error) => error.data.status === 401);
});

test("what is said and drawn at one replica is heard at the other, by its user alone", async () => {
  const here = open(FIRST_URL, TOKEN, { transports: ["websocket"] });
  const there = open(SECOND_URL, TOKEN, { transports: ["websocket"] });
  const stranger = open(SECOND_URL, OTHERS_TOKEN, { transports: ["websocket"] });
  await Promise.all([here, there, stranger].map((socket) => heard(socket, "connected")));
  const overheard = [];
  stranger.onAny((event) => overheard.push(event));
  await there.emitWithAck("join_session", { session_id: "s" });

  const pieces = [];
  there.on("chat_response", (piece) => pieces.push(piece));
  const complete = heard(there, "chat_response", (piece) => piece.is_complete);
  const made = heard(there, "generation_updated");
  const accepted = await here.emitWithAck("chat_message", { message: "foxes", session_id: "s" });
  assert.equal(accepted.success, true);
  assert.equal((await complete).message_id, accepted.message_id);
  assert.deepEqual(pieces.map((piece) => piece.sequence), pieces.map((_, index) => index + 1));
  assert.equal(pieces.map((piece) => piece.message).join(""), "About foxes: it is well said.");
  assert.equal((await made).status, "completed");

  const updated = heard(there, "canvas_updated");
  const elements = [{ id: "a", type: "rectangle", version: 1 }];
  assert.ok((await here.emitWithAck("canvas_update", { canvas_id: CANVAS_ID, elements })).version > 1);
  assert.deepEqual((await updated).elements, elements);
  assert.deepEqual(overheard, []);
});

test("whoever comes back is told what was missed", async () => {
  const socket = open(FIRST_URL, TOKEN, { transports: ["websocket"] });
  await heard(socket, "connected");
  assert.deepEqual(await socket.emitWithAck("resync", { sequence: "nonsense" }), { reset: true, count: 0 });
});

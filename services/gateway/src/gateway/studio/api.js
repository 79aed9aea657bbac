/** Requests to the gateway: the token goes with each, and a refusal comes back as a Problem. */

import { inTurn } from "/studio/locks.js";

const STORED = "darkroom.session";
const ATTEMPTS = 3;
const FIRST_PAUSE_MILLISECONDS = 500;
const TOLD_MILLISECONDS = 300;
/** How long another tab has to say that it renewed the session. */

/** A refusal: `code` is for this page, `message` for people, `facts` are what came with it. */
export class Problem extends Error {
  constructor(status, facts, retryAfterSeconds = null) {
    super(facts.detail || facts.msg || facts.message || "");
    this.status = status;
    this.code = facts.code && typeof facts.code === "string" ? facts.code : facts.error_code || "";
    this.facts = facts;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

const listeners = { signedOut: () => {} };
let session = stored();
let renewing = null;

/** A tab that is duplicated has the session of the first one: what becomes of it in one is so in the other. */
const tabs = new BroadcastChannel(STORED);
tabs.onmessage = ({ data: { id, word, kept } }) => {
  if (!session?.refresh_token || id !== claimsOf(session).session_id) return;
  if (word === "asks") tell("has");
  if (word === "has" && kept.renewals > (session.renewals ?? 0)) keep(kept);
  if (word === "ends") forget(true);
};

/** Calls back when nobody is signed in any more, with whether that was wished. */
export function onSignedOut(listener) {
  listeners.signedOut = listener;
}

export const isSignedIn = () => session !== null;
export const isLocal = () => Boolean(session?.local);

/** What the token says of itself; the gateway alone decides. */
export const isOperator = () => Boolean(claimsOf(session).app_metadata?.roles?.includes("operator"));
/** Tells one person from another; null where nobody is signed in. */
export const whose = () => claimsOf(session).sub ?? session?.access_token ?? null;

function claimsOf(held) {
  try {
    return JSON.parse(atob(held.access_token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
  } catch {
    return {};
  }
}

/** The session of a stack on this machine, which needs no sign-in. Whether there is one. */
export async function beginLocally() {
  const answer = await fetch("/studio/session", { method: "POST" });
  if (!answer.ok) return false;
  keep({ access_token: (await answer.json()).access_token, local: true });
  return true;
}

/** Whether people sign in here with e-mail and password. */
export async function offersSignIn() {
  const answer = await fetch("/auth/v1/settings");
  return answer.ok && (await answer.json()).external.email;
}

export async function signIn(email, password) {
  keep(await send("POST", "/auth/v1/token", { query: { grant_type: "password" }, body: { email, password } }));
}

/** Whether the new person is signed in at once; else the address has to be confirmed first. */
export async function signUp(email, password) {
  const made = await send("POST", "/auth/v1/signup", { body: { email, password } });
  if (made.access_token) keep(made);
  return Boolean(made.access_token);
}

export function usePasted(token) {
  keep({ access_token: token });
}

export async function signOut() {
  if (session?.refresh_token) {
    await send("POST", "/auth/v1/logout", { query: { scope: "local" } }).catch(() => {});
    tell("ends");
  }
  forget(true);
}

/**
 * The answer's JSON, or null where there is none. `body` is sent as JSON, `form` as a form, `key` as Idempotency-Key.
 * With a key, and for reading, a lost connection is tried again: the same request cannot count twice.
 */
export async function send(method, path, { query, body, form, key, signal } = {}) {
  const headers = key ? { "Idempotency-Key": key } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const content = form ?? (body === undefined ? undefined : JSON.stringify(body));
  const isRepeatable = method === "GET" || Boolean(key);
  const answer = await tried(isRepeatable ? ATTEMPTS : 1, () =>
    open(method, path, { query, headers, body: content, signal }),
  );
  return answer.status === 204 ? null : answer.json();
}

/** The answer itself. Raises Problem, or TypeError where nobody answers. */
export async function open(method, path, options = {}) {
  let answer = await fetched(method, path, options);
  if (answer.status === 401 && session !== null && (await renewed())) answer = await fetched(method, path, options);
  if (answer.ok) return answer;
  if (answer.status === 401 && session !== null) forget();
  throw await problemOf(answer);
}

async function problemOf(answer) {
  const facts = await answer.json().catch(() => ({}));
  return new Problem(answer.status, facts, Number(answer.headers.get("Retry-After")) || null);
}

function fetched(method, path, { query, headers = {}, body, signal } = {}) {
  const bearer = session === null ? {} : { Authorization: `Bearer ${session.access_token}` };
  return fetch(withQuery(path, query), { method, headers: { ...headers, ...bearer }, body, signal });
}

async function tried(attempts, attempt) {
  for (let number = 1; ; number += 1) {
    try {
      return await attempt();
    } catch (error) {
      const isAway = error instanceof TypeError || error.status === 503 || error.code === "not_heard";
      if (!isAway || number === attempts) throw error;
      await pause((error.retryAfterSeconds ?? 0) * 1000 || FIRST_PAUSE_MILLISECONDS * 2 ** number);
    }
  }
}

/** An Idempotency-Key. `crypto.randomUUID` is not there where a page comes over plain HTTP. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function withQuery(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** One renewal at a time, in all tabs: a refresh token is spent once. */
function renewed() {
  renewing ??= renew().finally(() => {
    renewing = null;
  });
  return renewing;
}

async function renew() {
  if (session.local) return beginLocally();
  if (!session.refresh_token) return false;
  const former = session;
  return inTurn(`${STORED} renewal`, () => replaced(former));
}

/** Whether there is another session: one that another tab has, else for the refresh token. */
async function replaced(former) {
  if (session === former) {
    tell("asks");
    await pause(TOLD_MILLISECONDS);
  }
  if (session !== former) return session !== null;
  const answer = await fetch("/auth/v1/token?grant_type=refresh_token", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ refresh_token: session.refresh_token }),
  });
  if (answer.status >= 500 || answer.status === 429) throw await problemOf(answer);
  if (!answer.ok) return false;
  keep({ ...(await answer.json()), renewals: (former.renewals ?? 0) + 1 });
  tell("has");
  return true;
}

function tell(word) {
  const id = claimsOf(session).session_id;
  if (id) tabs.postMessage({ id, word, kept: session });
}

/** `renewals` says which of two tabs' sessions is the later one: their tokens are dated by the second. */
function keep({ access_token, refresh_token = null, local = false, renewals = 0 }) {
  session = { access_token, refresh_token, local, renewals };
  sessionStorage.setItem(STORED, JSON.stringify(session));
}

function forget(isWished = false) {
  session = null;
  sessionStorage.removeItem(STORED);
  listeners.signedOut(isWished);
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

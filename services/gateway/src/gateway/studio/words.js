/** What codes and states are called, and what to do about a problem. The codes are those of docs/problems.md. */

const ADVICE = {
  invalid_request: "Correct it and try again.",
  model_not_found: "Choose another model.",
  input_not_found: "Choose the file you start from again.",
  idempotency_mismatch: "Press “Make it” again.",
  malformed_body: "Reload the page and try again.",
  invalid_idempotency_key: "Reload the page and try again.",
  unauthenticated: "Sign in again.",
  scope_missing: "Sign in with another key.",
  operators_only: "Sign in with an operator's token.",
  insufficient_credits: "Top up your credits, or ask for less.",
  not_found: "It may have been deleted. Reload the page.",
  payments_not_offered: "Ask whoever runs this Darkroom for credits.",
  username_taken: "Choose another name.",
  already_finished: "Reload the page to see how it ended.",
  shown_once: "It was made: look at your keys.",
  not_finished: "Wait until it ends, or cancel it.",
  stale_version: "Reload the page and try again.",
  deleted: "Press “Make it” again.",
  quota_exceeded: "Delete some of what you made to get room.",
  verification_needed: "Verify your e-mail address, or ask for less.",
  body_too_large: "Send less.",
  too_large: "Choose a smaller file.",
  unsupported_media: "Choose a picture, a video or a sound.",
  unsupported_media_type: "Reload the page and try again.",
  unusable_media: "Choose another file.",
  not_clean: "Choose another file.",
  too_many_requests: "Wait a moment and try again.",
  daily_cap_reached: "Try again tomorrow, after 0:00 UTC.",
  spend_cap_reached: "Wait, or use a key with a higher cap.",
  internal_error: "Try again; should it happen again, tell whoever runs this Darkroom.",
  not_configured: "Ask whoever runs this Darkroom to set it up.",
  unavailable: "Try again in a moment.",
  not_heard: "Look whether it is there before you ask again.",
  still_running: "It goes on: look at it below.",
  text_changed: "It was written anew: look at it below.",
  content_policy: "Say it in other words, or start from another picture.",
  moderation_unavailable: "Try again later.",
  provider_unavailable: "Nothing was charged; try again, or choose another model.",
  provider_throttled: "Nothing was charged; try again in a moment, or choose another model.",
  provider_quota: "Nothing was charged; choose another model, and tell whoever runs this Darkroom.",
  provider_unauthorized: "Nothing was charged; choose another model, and tell whoever runs this Darkroom.",
  declined: "Top up your credits, then try again.",
  cancelled: "Make it again if you want it after all.",
  deadline: "Try again.",
};

const STATES = {
  pending: "Waiting",
  processing: "Being made",
  completed: "Completed",
  failed: "Failed",
  declined: "Declined",
  cancelled: "Cancelled",
};

const STAGES = {
  waiting: "Waiting for its turn",
  rendering: "Being made",
  storing: "Being stored",
};

const KINDS = { image: "Picture", video: "Video", speech: "Voice", text: "Text" };

const ROLES = {
  image: "picture to change",
  first_frame: "first picture",
  last_frame: "last picture",
  mask: "mask",
  audio: "sound",
  video: "video",
};

/** What went wrong and what to do, as sentences. */
export function explain(error) {
  if (error instanceof TypeError) return "Darkroom does not answer. Look whether it runs, and try again.";
  const wait = error.retryAfterSeconds ? ` (in ${error.retryAfterSeconds} s)` : "";
  const advice = ADVICE[error.code] ?? "Nothing was charged for what was not delivered.";
  const { required, available } = error.facts ?? {};
  const sums = required === undefined || available === undefined ? "" : `It needs ${amount(required)}, you have ${amount(available)}.`;
  return [sums || sentence(error.message || "It did not work"), advice + wait].join(" ");
}

export const stateName = (status) => STATES[status] ?? status;
/** With who does it, where that is known and matters. */
export function stageName(stage, provider = null) {
  const name = STAGES[stage] ?? stage;
  return stage === "rendering" && provider ? `${name} by ${provider}` : name;
}

export const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;
const MOMENTS = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
export const moment = (text) => MOMENTS.format(new Date(text));
export const kindName = (kind) => KINDS[kind] ?? kind;
export const roleName = (role) => ROLES[role] ?? role;

export function amount(credits) {
  const number = credits.toLocaleString("en", { maximumFractionDigits: 4 });
  return `${number} ${credits === 1 ? "credit" : "credits"}`;
}

export const clock = (moment) => moment.toLocaleTimeString("en-GB");

function sentence(text) {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

const WITHOUT_CENTS = new Set("bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf".split(" "));

/** Minor units of a currency, as people write them; those of Stripe's currencies without cents are whole ones. */
export function money(units, currency) {
  const whole = units / (WITHOUT_CENTS.has(currency.toLowerCase()) ? 1 : 100);
  return whole.toLocaleString("en", { style: "currency", currency: currency.toUpperCase() });
}

/** What more than one view shows: who is signed in, what went wrong, the balance, the models. */

import { signal } from "@preact/signals";
import { isSignedIn, send } from "/studio/api.js";

/** Null before it is known. */
export const signedIn = signal(null);
export const problem = signal(null);
/** Null before the ledger answered. */
export const credits = signal(null);
export const models = signal([]);

/** Says what was wrong, until the next thing is done. */
export function complain(error) {
  problem.value = error;
}

/** Runs something, and says what was wrong with it. */
export async function told(act, failed = complain) {
  try {
    await act();
  } catch (error) {
    failed(error);
  }
}

export async function balance() {
  try {
    credits.value = await send("GET", "/v1/credits");
  } catch (error) {
    if (isSignedIn()) complain(error);
  }
}

export async function loadModels() {
  models.value = (await send("GET", "/v1/models")).items;
}

/** Who makes what a model is asked for. */
export const providerOf = (id) => models.value.find((model) => model.id === id)?.provider ?? null;

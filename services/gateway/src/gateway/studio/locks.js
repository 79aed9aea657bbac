/** What the tabs of a browser take turns at. */

const lasts = new Map();
/** Where a page comes over plain HTTP there are no locks: then a tab takes turns with itself alone. */

/** Whether other tabs take their turns, too. */
export const areShared = Boolean(navigator.locks);

/** What `act` comes to, in its turn. Raises AbortError where `signal` ends the wait. */
export function inTurn(name, act, signal) {
  if (areShared) return navigator.locks.request(name, { signal }, act);
  const turn = (lasts.get(name) ?? Promise.resolve()).then(() => {
    signal?.throwIfAborted();
    return act();
  });
  const ended = turn.then(() => {}, () => {}).then(() => {
    if (lasts.get(name) === ended) lasts.delete(name);
  });
  lasts.set(name, ended);
  return turn;
}

/** Whether somebody has it now. */
export async function isTaken(name) {
  return areShared ? (await navigator.locks.query()).held.some((each) => each.name === name) : lasts.has(name);
}

// The one cursor of a run's page: a step, and a layer where the maps have been pointed at.

const cursorPlace = { step: 0, layer: null, last: 0 };
const cursorFollowers = [];
let cursorFrame = 0;
let cursorCause = "pointer";

/** Say how far the cursor goes: steps 0 to `last`. */
export function limitCursor(last) {
  cursorPlace.last = last;
}

/** Return where it is: {step, layer, last}. */
export function cursorNow() {
  return cursorPlace;
}

/** Call with (place, cause) when it has moved; at most once a frame. Causes: "pointer", "keys" and "address". */
export function onCursor(follower) {
  cursorFollowers.push(follower);
}

/** Move it; what lies beyond the run is its end. */
export function moveCursor(step, cause = "pointer", layer = cursorPlace.layer) {
  const place = Math.max(0, Math.min(cursorPlace.last, Math.round(step)));
  if (place === cursorPlace.step && layer === cursorPlace.layer && cause === "pointer") return;
  cursorPlace.step = place;
  cursorPlace.layer = layer;
  cursorCause = cause;
  if (cursorFrame === 0) cursorFrame = requestAnimationFrame(tellFollowers);
}

function tellFollowers() {
  cursorFrame = 0;
  for (const follower of cursorFollowers) follower(cursorPlace, cursorCause);
}

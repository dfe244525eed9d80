// The tokens of a run: coloured by one of its signals, and where the cursor is.

import { cursorNow, moveCursor, onCursor } from "./run_cursor.js";

/** Let tokens follow the cursor and move it; returns {colourBy(signal), textAt(step)}. `pinned()` is called on a click. */
export function mountStrip(place, data, pinned) {
  const tokens = [...place.querySelectorAll(".strip-tokens > span")];
  const steps = new Map(tokens.map((token, step) => [token, step]));
  const rest = tokens.map((token) => token.className.slice(2));
  let current = null;
  const pointed = (event) => {
    const step = steps.get(event.target);
    if (step !== undefined) moveCursor(step);
    return step !== undefined;
  };
  place.addEventListener("pointermove", pointed);
  place.addEventListener("click", (event) => pointed(event) && pinned());
  onCursor((at, cause) => {
    current?.classList.remove("at");
    current = tokens[at.step] ?? null;
    current?.classList.add("at");
    if (current !== null && cause !== "pointer") scrollWithin(place, current);
  });
  return {
    colourBy(name) {
      const signal = data.signals.find((each) => each.signal === name) ?? data.signals[0];
      if (signal === undefined) return undefined;
      tokens.forEach((token, step) => { token.className = `s${signal.shades[step] ?? "-"}${rest[step]}`; });
      tokens[cursorNow().step]?.classList.add("at");
      return signal;
    },
    textAt: (step) => (data.words ? tokens[step]?.textContent ?? "" : ""),
  };
}

/* Scrolls the strip, never the page: the plots stay where they are. Blocks have their true height once they are seen, so
   that the way is looked at again. */
function scrollWithin(place, token, tries = 4) {
  const box = place.getBoundingClientRect();
  const spot = token.getBoundingClientRect();
  if (spot.top < box.top) place.scrollTop -= box.top - spot.top + 12;
  else if (spot.bottom > box.bottom) place.scrollTop += spot.bottom - box.bottom + 12;
  else return;
  if (tries > 0) requestAnimationFrame(() => scrollWithin(place, token, tries - 1));
}

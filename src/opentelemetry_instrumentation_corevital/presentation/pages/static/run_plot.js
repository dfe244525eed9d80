// What timelines and maps share: where their steps lie, and the line of the cursor.

import { cursorNow, moveCursor, onCursor } from "./run_cursor.js";
import { element } from "./page.js";

/** Pixels beside a plot; `.cursor-line` in run.css has the same. */
export const PLOT_LEFT = 56;
export const PLOT_RIGHT = 14;

/** Return which step lies under a pointer. */
export function stepUnder(event, box) {
  const sides = box.getBoundingClientRect();
  const part = (event.clientX - sides.left - PLOT_LEFT) / Math.max(1, sides.width - PLOT_LEFT - PLOT_RIGHT);
  return Math.floor(part * (cursorNow().last + 1));
}

/** Return the steps that an axis names: as many as fit, 1, 2 or 5 times a power of ten apart. */
export function stepTicks(last, most = window.innerWidth < 700 ? 6 : 14) {
  const least = Math.max(1, last / most);
  const power = 10 ** Math.floor(Math.log10(least));
  const apart = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least);
  return Array.from({ length: Math.floor(last / apart) + 1 }, (_, at) => at * apart);
}

/** Let a plot follow the cursor and move it. `layerUnder(event)` may tell a layer, `pinned()` is called on a click. */
export function linkPlot(box, pinned, layerUnder = () => undefined) {
  const line = element("div", { class: "cursor-line", hidden: true });
  box.append(line);
  const follow = (event) => moveCursor(stepUnder(event, box), "pointer", layerUnder(event));
  box.addEventListener("pointermove", follow);
  box.addEventListener("pointerdown", (event) => {
    follow(event);
    pinned();
  });
  onCursor((place) => {
    line.hidden = false;
    line.style.setProperty("--at", String((place.step + 0.5) / (place.last + 1)));
  });
}

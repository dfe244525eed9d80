// What the cursor's bar says: the step, its token, its numbers, and the cell of the map.

import { element, shown } from "./page.js";
import { onCursor } from "./run_cursor.js";

const SAID_AFTER = 400; // ms: a reader of screens is told where the cursor stays, not where it passes

/** Fill the bar as the cursor moves. `textAt(step)` is a token's text, `readCell(step, layer)` the map's. */
export function mountReadout(parts, lines, textAt, readCell) {
  const cells = new Map();
  const add = (name) => {
    const value = element("dd", {}, "\u2013");
    cells.set(name, value);
    parts.numbers.append(element("div", {}, element("dt", {}, name), value));
  };
  const read = lines.map((line) => [line.signal.replaceAll("_", " "), lineReader(line)]);
  read.forEach(([name]) => add(name));
  let timer = 0;
  onCursor((place, cause) => {
    const text = textAt(place.step);
    parts.range.value = String(place.step);
    parts.number.textContent = String(place.step);
    parts.token.textContent = text;
    for (const [name, at] of read) cells.get(name).textContent = at(place.step);
    if (place.layer !== null) {
      if (!cells.has("layer")) add("layer");
      cells.get("layer").textContent = `${place.layer}: ${readCell(place.step, place.layer)}`;
    }
    const said = [...cells].map(([name, value]) => `${name} ${value.textContent}`).join(", ");
    parts.range.setAttribute("aria-valuetext", `step ${place.step}${text ? `, ${text.trim()}` : ""}`);
    if (cause !== "address") clearTimeout(timer);
    if (cause === "keys") timer = setTimeout(() => { parts.said.textContent = `step ${place.step}, ${said}`; }, SAID_AFTER);
  });
}

/* Returns what a line has at a step; of a line with fewer points the nearest one before, marked as such. */
function lineReader(line) {
  const told = (value, nearly = "") => (value === null || value === undefined ? "\u2013" : `${nearly}${shown(value)} ${line.unit}`.trim());
  if (line.steps === null) return (step) => told(line.values[step]);
  const places = new Map(line.steps.map((step, at) => [step, at]));
  const gap = line.steps.length > 1 ? (line.steps.at(-1) - line.steps[0]) / (line.steps.length - 1) : 1;
  return (step) => {
    for (let back = 0; back <= Math.min(64, gap * 2); back++) {
      const at = places.get(step - back);
      if (at !== undefined) return told(line.values[at], back ? "\u2248 " : "");
    }
    return "\u2013";
  };
}

// What the model could have said at the step where the cursor is: its five likeliest tokens.

import { element } from "./page.js";
import { onCursor } from "./run_cursor.js";

/** Fill `place` as the cursor moves; `could` has texts, and per step probabilities and places of their texts. */
export function mountCould(place, could) {
  onCursor(({ step }) => {
    const tokens = could.tokens[step] ?? [];
    const said = could.said?.[step];
    const told = (could.probabilities[step] ?? []).map((probability, rank) => {
      const parts = [];
      if (rank < tokens.length) parts.push(element(tokens[rank] === said ? "b" : "span", { class: "could-token" }, could.texts[tokens[rank]].replaceAll("\n", "\u21b5")), "\u00a0");
      return element("span", { class: "could" }, ...parts, element("span", { class: "num" }, probability.toFixed(3)));
    });
    place.replaceChildren(...(told.length ? told : ["\u2013"]));
  });
}

// The colours of charts come from the style sheet, so that a chart fits its page in the light and in the dark.

const darkness = window.matchMedia("(prefers-color-scheme: dark)");
const stillness = window.matchMedia("(prefers-reduced-motion: reduce)");

/** Return the value of a custom property of the style sheet, such as `--ink`. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Return the colours of series, in their order. */
export function seriesColours() {
  return [1, 2, 3, 4, 5, 6].map((number) => colour(`--series-${number}`));
}

/** Call when light has become dark, or dark light. */
export function onThemeChange(redraw) {
  darkness.addEventListener("change", redraw);
}

/** Return whether nothing should move. */
export function motionIsReduced() {
  return stillness.matches;
}

// What of a run's page is in its address behind the #: the step, and the chosen signals.

const CHOICES = ["step", "colour", "map"];
let addressTimer = 0;
let unwritten = {};

/** Return what the address says: {step, colour, map}, each a text or null. */
export function readAddress() {
  const given = new URLSearchParams(window.location.hash.slice(1));
  return Object.fromEntries(CHOICES.map((name) => [name, given.get(name)]));
}

/** Write it, soon and without a place in the history; what is not given stays. */
export function writeAddress(values) {
  clearTimeout(addressTimer);
  unwritten = { ...unwritten, ...values };
  addressTimer = setTimeout(() => {
    const chosen = Object.entries({ ...readAddress(), ...unwritten }).filter(([, value]) => value !== null);
    const text = new URLSearchParams(chosen);
    unwritten = {};
    if (`#${text}` !== window.location.hash) window.location.replace(`#${text}`);
  }, 200);
}

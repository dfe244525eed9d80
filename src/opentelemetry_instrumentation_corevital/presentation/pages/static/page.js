// What the scripts of every page share: the data of a page, and elements made without markup.

/** Return the value of a data block, or null where the page has none. */
export function readData(id) {
  const block = document.getElementById(id);
  return block === null ? null : JSON.parse(block.textContent);
}

/** Return a new element with properties and children; text is text, never markup. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("data-") || name.startsWith("aria-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Return the numbers of a base64 text that holds little-endian floats of 32 bit; NaN where nothing was measured. */
export function floats(text) {
  return new Float32Array(bytes(text).buffer);
}

/** Return the bytes of a base64 text. */
export function bytes(text) {
  return Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
}

/** Return a number as people read it; a dash where there is none. */
export function shown(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "\u2013";
  if (Number.isInteger(value)) return value.toLocaleString("en", { useGrouping: Math.abs(value) >= 10000 });
  return Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
}

/** Return whether somebody is typing: then a key is text, no command. */
export function typing(event) {
  const place = event.target;
  return event.ctrlKey || event.metaKey || event.altKey ||
    (place instanceof HTMLElement && (place.isContentEditable || ["INPUT", "SELECT", "TEXTAREA"].includes(place.tagName)));
}

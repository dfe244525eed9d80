// The heat maps of a run: layers by steps, drawn on a canvas as wide as its pixels, so that no single step is lost.

import { colour, onThemeChange } from "./colours.js";
import { bytes, element, shown } from "./page.js";
import { cursorNow, moveCursor, onCursor } from "./run_cursor.js";
import { PLOT_LEFT, PLOT_RIGHT, stepTicks } from "./run_plot.js";

const MAP_TOP = 8;
const MAP_BOTTOM = 34;
const LARGEST_SHADE = 250;
const BELOW = 251;
const ABOVE = 252;
const BAD = 254;
const MISSING = 255;

/** Show maps on a canvas; returns {select(name), read(step, layer), layerUnder(event)}. `last` is the run's last step. */
export function mountMaps(canvas, data, last) {
  const decoded = new Map();
  const view = { map: data.maps[0], layer: null };
  const draw = () => drawMap(canvas, prepared(view.map, decoded), data, last, view.layer);
  new ResizeObserver(draw).observe(canvas);
  onThemeChange(draw);
  onCursor((place) => {
    if (place.layer === view.layer) return;
    view.layer = place.layer;
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const { step, layer } = cursorNow();
    moveCursor(step, "keys", Math.max(0, Math.min(view.map.layers - 1, layer === null ? 0 : layer + by)));
  });
  return {
    select(name) {
      view.map = data.maps.find((each) => each.name === name) ?? data.maps[0];
      draw();
      return view.map;
    },
    read: (at, layer) => cellText(prepared(view.map, decoded), at, layer),
    layerUnder: (event) => {
      const box = canvas.getBoundingClientRect();
      const row = Math.floor((event.clientY - box.top - MAP_TOP) / (box.height - MAP_TOP - MAP_BOTTOM) * view.map.layers);
      return Math.max(0, Math.min(view.map.layers - 1, row));
    },
  };
}

/** Show the ends of a map's scale and its colours. */
export function showMapScale(map, palette, low, high, ramp) {
  low.textContent = map.weak;
  high.textContent = map.strong;
  ramp.style.setProperty("background", `linear-gradient(90deg, ${palette.join(", ")})`);
}

/** Write what a map says of each layer into the body of a table. */
export function fillLayerTable(body, map) {
  body.replaceChildren(...map.rows.map((row) => element("tr", {}, ...row.map((cell, at) => element(at === 0 ? "th" : "td", at === 0 ? { scope: "row" } : {}, String(cell))))));
}

/* A map with its bytes unpacked, the median code of each layer, and how many steps a column stands for. */
function prepared(map, decoded) {
  if (!decoded.has(map.name)) {
    const cells = bytes(map.cells);
    const columns = cells.length / map.layers;
    const steps = map.steps ?? Array.from({ length: columns }, (_, at) => at);
    const usual = new Uint8Array(map.layers);
    for (let layer = 0; layer < map.layers; layer++) {
      const known = cells.slice(layer * columns, (layer + 1) * columns).filter((code) => code <= LARGEST_SHADE).sort();
      usual[layer] = known.length ? known[known.length >> 1] : 0;
    }
    const gaps = steps.slice(1).map((step, at) => step - steps[at]).sort((a, b) => a - b);
    decoded.set(map.name, { ...map, cells, columns, steps, usual, stride: gaps.length ? gaps[gaps.length >> 1] : 1 });
  }
  return decoded.get(map.name);
}

/* The column that has a step, or -1: the last one that begins at it or before it, if it reaches that far. */
function columnOf(map, step) {
  let low = 0;
  let high = map.columns - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (map.steps[middle] <= step) low = middle;
    else high = middle - 1;
  }
  return map.steps[low] <= step && step < map.steps[low] + map.stride + (low + 1 < map.columns && map.steps[low + 1] - map.steps[low] === map.stride + 1 ? 1 : 0) ? low : -1;
}

function valueAt(map, place) {
  const code = map.cells[place];
  const value = code <= LARGEST_SHADE ? map.low + (code / LARGEST_SHADE) * (map.high - map.low) : map.beyond[place];
  return map.relative ? Math.exp(value) : value;
}

function cellText(map, step, layer) {
  const column = columnOf(map, step);
  if (column < 0) return "not measured";
  const place = layer * map.columns + column;
  if (map.cells[place] === BAD) return "NaN or infinity";
  if (map.cells[place] === MISSING) return "not measured";
  const sampled = map.steps[column] === step ? "" : ` (step ${map.steps[column]})`;
  return `${shown(valueAt(map, place))} ${map.unit}`.trim() + sampled;
}

function colourTable(palette) {
  const parts = palette.map((each) => [1, 3, 5].map((at) => parseInt(each.slice(at, at + 2), 16)));
  const table = new Uint32Array(256);
  const whole = (red, green, blue) => (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
  for (let code = 0; code <= LARGEST_SHADE; code++) {
    const place = code / LARGEST_SHADE * (parts.length - 1);
    const from = Math.min(parts.length - 2, Math.floor(place));
    const mixed = parts[from].map((value, at) => Math.round(value + (place - from) * (parts[from + 1][at] - value)));
    table[code] = whole(...mixed);
  }
  table[BELOW] = table[0];
  table[ABOVE] = table[LARGEST_SHADE];
  table[BAD] = whole(229, 57, 53);
  return table;
}

/* The code to show for columns `from` to `to` of a layer: a fault, else what is furthest from the layer's usual. */
function tellingCode(map, layer, from, to) {
  let best = MISSING;
  let furthest = -1;
  for (let column = from; column <= to; column++) {
    const code = map.cells[layer * map.columns + column];
    if (code === BAD) return BAD;
    const distance = code === MISSING ? -1 : code > LARGEST_SHADE ? 1000 : Math.abs(code - map.usual[layer]);
    if (distance > furthest) {
      furthest = distance;
      best = code;
    }
  }
  return best;
}

function cellsImage(map, width, last, palette) {
  const image = new ImageData(width, map.layers);
  const pixels = new Uint32Array(image.data.buffer);
  const table = colourTable(palette);
  for (let x = 0; x < width; x++) {
    const first = Math.floor(x / width * (last + 1));
    const end = Math.max(first, Math.floor((x + 1) / width * (last + 1)) - 1);
    const from = columnOf(map, first);
    const to = columnOf(map, end);
    if (from < 0 && to < 0) continue;
    const begin = from < 0 ? to : from;
    for (let layer = 0; layer < map.layers; layer++) pixels[layer * width + x] = table[tellingCode(map, layer, begin, Math.max(begin, to))];
  }
  return image;
}

function drawMap(canvas, map, data, last, layer) {
  const box = canvas.getBoundingClientRect();
  if (box.width < PLOT_LEFT + PLOT_RIGHT + 10) return;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(box.width * scale);
  canvas.height = Math.round(box.height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  const width = box.width - PLOT_LEFT - PLOT_RIGHT;
  const height = box.height - MAP_TOP - MAP_BOTTOM;
  const image = cellsImage(map, Math.max(1, Math.round(width * scale)), last, data.palette);
  const aside = new OffscreenCanvas(image.width, image.height);
  aside.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(aside, 0, 0, image.width, image.height, PLOT_LEFT, MAP_TOP, width, height);
  drawMapAxes(context, map, data.blamed, last, { width, height }, layer);
}

function drawMapAxes(context, map, blamed, last, size, layer) {
  const row = size.height / map.layers;
  const middle = (at) => MAP_TOP + (at + 0.5) * row;
  context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
  context.textBaseline = "middle";
  context.textAlign = "right";
  const every = [1, 2, 4, 5, 8, 10, 16, 20, 32].find((each) => each * row >= 14) ?? 64;
  for (let at = 0; at < map.layers; at++) {
    const isBlamed = blamed.includes(at);
    const isNear = blamed.some((each) => each !== at && Math.abs(each - at) * row < 12);
    if (!isBlamed && (at % every || isNear)) continue;
    context.fillStyle = colour(isBlamed ? "--mark" : "--dim");
    context.fillText(isBlamed ? `${at} \u25b6` : String(at), PLOT_LEFT - (isBlamed ? 3 : 8), middle(at));
  }
  context.strokeStyle = colour("--mark");
  for (const at of blamed) context.strokeRect(PLOT_LEFT - 0.5, MAP_TOP + at * row, size.width + 1, row);
  if (layer !== null && layer < map.layers) {
    context.strokeStyle = colour("--ink");
    context.lineWidth = 1.5;
    context.strokeRect(PLOT_LEFT, MAP_TOP + layer * row, size.width, row);
  }
  context.fillStyle = colour("--dim");
  context.textAlign = "center";
  for (const step of stepTicks(last)) {
    context.fillText(String(step), PLOT_LEFT + (step + 0.5) / (last + 1) * size.width, MAP_TOP + size.height + 10);
  }
  context.fillText("step", PLOT_LEFT + size.width / 2, MAP_TOP + size.height + 24);
  context.save();
  context.translate(10, MAP_TOP + size.height / 2);
  context.rotate(-Math.PI / 2);
  context.fillText("layer", 0, 0);
  context.restore();
}

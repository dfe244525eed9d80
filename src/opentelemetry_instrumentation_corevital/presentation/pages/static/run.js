// The page of one run: one cursor through tokens, timelines and maps.

import { mountCharts } from "./charts.js";
import { readData, typing } from "./page.js";
import { readAddress, writeAddress } from "./run_address.js";
import { mountCould } from "./run_could.js";
import { cursorNow, limitCursor, moveCursor } from "./run_cursor.js";
import { fillLayerTable, mountMaps, showMapScale } from "./run_maps.js";
import { linkPlot } from "./run_plot.js";
import { mountPrompt } from "./run_prompt.js";
import { mountReadout } from "./run_readout.js";
import { mountStrip } from "./run_strip.js";
import { addTimelines } from "./run_timelines.js";

const byId = (id) => document.getElementById(id);

function startRun() {
  const timelines = readData("timelines-data");
  const strip = readData("strip-data");
  const maps = readData("maps-data");
  const pinned = () => writeAddress({ step: String(cursorNow().step) });
  limitCursor(timelines.last);
  const tokens = mountStrip(byId("strip"), strip, pinned);
  const layers = byId("map") === null ? null : mountMaps(byId("map"), maps, timelines.last);
  const parts = { range: byId("cursor-step"), number: byId("cursor-number"), token: byId("cursor-token"), numbers: byId("cursor-numbers"), said: byId("cursor-said") };
  mountReadout(parts, timelines.lines, tokens.textAt, (step, layer) => layers.read(step, layer));
  if (strip.could) mountCould(byId("cursor-could"), strip.could);
  addTimelines();
  mountCharts();
  if (byId("timelines") !== null) linkPlot(byId("timelines").parentElement, pinned);
  if (layers !== null) linkPlot(byId("map").parentElement, pinned, layers.layerUnder);
  parts.range.addEventListener("input", () => {
    moveCursor(Number(parts.range.value), "keys");
    pinned();
  });
  const colourBy = (name) => {
    const signal = tokens.colourBy(name);
    if (signal === undefined) return;
    byId("strip-signal").value = signal.signal;
    byId("strip-weak").textContent = signal.weak;
    byId("strip-strong").textContent = signal.strong;
  };
  const showMap = (name) => {
    if (layers === null) return;
    const map = layers.select(name);
    byId("map-signal").value = map.name;
    showMapScale(map, maps.palette, byId("map-low"), byId("map-high"), byId("map-ramp"));
    fillLayerTable(byId("map-table").querySelector("tbody"), map);
  };
  byId("strip-signal")?.addEventListener("change", (event) => {
    colourBy(event.target.value);
    writeAddress({ colour: event.target.value });
  });
  byId("map-signal")?.addEventListener("change", (event) => {
    showMap(event.target.value);
    moveCursor(cursorNow().step, "address");
    writeAddress({ map: event.target.value });
  });
  const follow = (first) => {
    const said = readAddress();
    if (said.colour !== null && said.colour !== byId("strip-signal")?.value) colourBy(said.colour);
    if (first || (said.map !== null && said.map !== byId("map-signal")?.value)) showMap(said.map ?? byId("map-signal")?.value);
    const step = Number.parseInt(said.step ?? "0", 10) || 0;
    if (first || (said.step !== null && step !== cursorNow().step)) moveCursor(step, "address");
  };
  window.addEventListener("hashchange", () => follow(false));
  follow(true);
  document.addEventListener("keydown", (event) => keyPressed(event, pinned));
}

function keyPressed(event, pinned) {
  if (typing(event) || (event.target instanceof Element && event.target.closest(".scroll, pre, dialog") !== null)) return;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  moveCursor(cursorNow().step + by * (event.shiftKey ? 10 : 1), "keys");
  pinned();
}

document.addEventListener("keydown", (event) => {
  if (!typing(event) && (event.key === "j" || event.key === "k")) document.querySelector(`a[data-key="${event.key}"]`)?.click();
});

if (document.getElementById("timelines-data") !== null) startRun();
if (document.getElementById("prompt-data") !== null) mountPrompt();

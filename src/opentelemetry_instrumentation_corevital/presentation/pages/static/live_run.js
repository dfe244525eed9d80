// The page of a run that goes on: its strip and its timelines grow with each step that the server tells.

import { drawChart, mountCharts } from "./charts.js";
import { showLevel } from "./live.js";
import { element, readData, shown } from "./page.js";
import { followStream } from "./stream.js";

const DRAW_EVERY_MS = 400;
const MOST_TOKENS = 3000;
const MOST_ROWS = 50;
const liveSequences = new Map();
let liveFields = [];
let livePlace = null;
let drawingSoon = false;

/** Follow the run of the page until it is over. */
export function mountLiveRun() {
  livePlace = document.getElementById("live-run");
  if (livePlace === null) return;
  liveFields = readData("live-fields");
  mountCharts();
  followStream(livePlace.dataset.stream, {
    steps: (data) => takeSteps(JSON.parse(data)),
    over: (data) => showEnd(JSON.parse(data)),
  });
  document.getElementById("live-sequence").addEventListener("change", drawWhole);
  setInterval(showIdle, 1000);
}

function takeSteps(rows) {
  for (const row of rows) {
    const step = Object.fromEntries(liveFields.map((name, at) => [name, row[at]]));
    let steps = liveSequences.get(step.sequence);
    if (steps === undefined) {
      liveSequences.set(step.sequence, (steps = new Map()));
      offerSequence(step.sequence);
    }
    if (!steps.has(step.step)) steps.set(step.step, step); // a step may come twice, or out of order
  }
  livePlace.dataset.arrived = Date.now();
  if (drawingSoon) return;
  drawingSoon = true;
  setTimeout(() => {
    drawingSoon = false;
    drawLiveRun();
  }, livePlace.dataset.drawn ? DRAW_EVERY_MS : 0);
}

function offerSequence(number) {
  const choice = document.getElementById("live-sequence");
  choice.append(element("option", { value: String(number) }, `sequence ${number}`));
  for (const [at, option] of [...choice.options].sort((a, b) => a.value - b.value).entries()) choice.insertBefore(option, choice.options[at]);
  if (choice.selectedIndex < 0) choice.selectedIndex = 0;
  document.getElementById("live-sequences").hidden = choice.options.length < 2;
}

function chosenSteps() {
  const steps = liveSequences.get(Number(document.getElementById("live-sequence").value)) ?? new Map();
  return [...steps.values()].sort((one, other) => one.step - other.step);
}

function drawWhole() {
  document.getElementById("live-strip").replaceChildren();
  drawLiveRun();
}

function drawLiveRun() {
  const steps = chosenSteps();
  if (steps.length === 0) return;
  const last = steps[steps.length - 1];
  livePlace.dataset.drawn = steps.length;
  document.getElementById("live-step").textContent = `step ${shown(last.step, 7)}`;
  const risk = steps.findLast((step) => step.risk_so_far !== null)?.risk_so_far ?? null;
  showLevel(document.getElementById("live-level"), levelOf(risk), risk);
  document.getElementById("live-warnings").replaceChildren(...last.warnings.map((name) => element("li", { class: "chip warning" }, name)));
  document.getElementById("live-no-text").hidden = steps.some((step) => step.text !== null);
  growStrip(steps);
  for (const place of livePlace.querySelectorAll("[data-chart]")) {
    const values = steps.map((step) => step[place.dataset.signal]);
    place.closest("figure").hidden = values.every((value) => value === null); // steps are told without it
    drawChart(place, { x: steps.map((step) => step.step), series: [{ name: place.dataset.title, values }] });
  }
  drawTable(steps);
  showIdle();
}

function levelOf(risk) {
  if (risk === null) return null;
  const [medium, high] = readData("live-levels");
  return risk >= high ? "high" : risk >= medium ? "medium" : "low";
}

function growStrip(steps) {
  const strip = document.getElementById("live-strip");
  const shownSteps = steps.slice(-MOST_TOKENS);
  const drawn = new Set([...strip.children].map((token) => Number(token.dataset.step)));
  const atEnd = strip.scrollTop + strip.clientHeight > strip.scrollHeight - 24;
  for (const step of shownSteps.filter((each) => !drawn.has(each.step))) {
    const behind = [...strip.children].findLast((token) => Number(token.dataset.step) < step.step);
    if (behind === undefined) strip.prepend(tokenOf(step));
    else behind.after(tokenOf(step));
  }
  while (strip.childElementCount > MOST_TOKENS) strip.firstElementChild.remove();
  if (atEnd) strip.scrollTop = strip.scrollHeight;
  document.getElementById("live-left-out").hidden = steps.length <= MOST_TOKENS;
}

function tokenOf(step) {
  const numbers = [["entropy", "bit"], ["surprisal", "bit"], ["margin", ""], ["top1_prob", ""]]
    .filter(([name]) => step[name] !== null).map(([name, unit]) => `${name.replace("_", " ")} ${shown(step[name])} ${unit}`.trim());
  const token = element("span", {
    class: step.text === null ? "live-token number" : "live-token",
    title: [`step ${step.step}`, ...numbers, ...step.warnings].join("\n"),
    "data-step": String(step.step),
  }, step.text ?? String(step.step));
  token.style.setProperty("--heat", `${Math.round(100 * Math.min(1, (step.surprisal ?? 0) / 10))}%`);
  return token;
}

function drawTable(steps) {
  const signals = liveFields.slice(2, -2);
  document.getElementById("live-rows").replaceChildren(...steps.slice(-MOST_ROWS).reverse().map((step) =>
    element("tr", {}, element("th", { class: "num", scope: "row" }, String(step.step)),
      ...signals.map((name) => element("td", { class: "num" }, shown(step[name]))),
      element("td", {}, step.warnings.join(", ")))));
}

function showIdle() {
  const arrived = Number(livePlace.dataset.arrived ?? 0), place = document.getElementById("live-idle");
  const seconds = Math.floor((Date.now() - arrived) / 1000);
  place.hidden = arrived === 0 || seconds < 10 || livePlace.dataset.over === "yes";
  place.textContent = `no step for ${seconds} s`;
}

/* The run is over: what it was judged to be, and where its page is. */
function showEnd(runs) {
  livePlace.dataset.over = "yes";
  drawLiveRun();
  const end = document.getElementById("live-end");
  const links = runs.map((run) => {
    const level = element("span");
    showLevel(level, run.level, run.risk);
    const name = runs.length > 1 ? `Sequence ${run.sequence}` : "See the whole run";
    return element("li", {}, element("a", { class: "button primary", href: `/runs/${run.id}` }, name), " ", level);
  });
  end.querySelector("ul").replaceChildren(...links);
  end.querySelector("[data-unjudged]").hidden = runs.length > 0;
  end.hidden = false;
  document.getElementById("live-state").textContent = "is over";
}

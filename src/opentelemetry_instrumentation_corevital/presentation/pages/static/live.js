// The list of runs that go on: the server says what changed (server-sent events), and the rows follow.

import { element, shown } from "./page.js";
import { followStream } from "./stream.js";

/** Keep the list of the page as it is in the store, until the page goes. */
export function mountLiveList() {
  const running = document.getElementById("running");
  if (running === null) return;
  followStream(running.dataset.stream, {
    board: (data) => drawBoard(running, JSON.parse(data)),
  });
}

function drawBoard(running, board) {
  keepRows(running, document.getElementById("running-row"), board.running, fillRunning);
  const finished = document.getElementById("finished");
  if (finished !== null) keepRows(finished, document.getElementById("finished-row"), board.finished, fillFinished);
  const count = board.running.length;
  const said = count === 0 ? "No run goes on" : count === 1 ? "1 run goes on" : `${count} runs go on`;
  const status = document.getElementById("running-status");
  if (status.textContent !== said) status.textContent = said; // said aloud only when it changes
  for (const place of document.querySelectorAll("[data-without]"))
    place.hidden = board[place.dataset.without].length > 0;
  for (const place of document.querySelectorAll("[data-with]")) place.hidden = board[place.dataset.with].length === 0;
}

/* One element per entry, in order; what is there already is filled anew, so that focus and selection stay. */
function keepRows(list, template, entries, fill) {
  const known = new Map([...list.children].map((row) => [row.dataset.id, row]));
  let before = list.firstElementChild;
  for (const entry of entries) {
    const row = known.get(entry.id) ?? template.content.firstElementChild.cloneNode(true);
    known.delete(entry.id);
    row.dataset.id = entry.id;
    fill(row, entry);
    if (row === before) before = before.nextElementSibling;
    else list.insertBefore(row, before);
  }
  for (const gone of known.values()) gone.remove();
}

function fillRunning(row, entry) {
  fillFields(row, entry);
  row.querySelector("a").href = `/live/${entry.id}`;
  fieldOf(row, "step").textContent = `step ${shown(entry.steps, 6)}`;
  fieldOf(row, "sequences").textContent = entry.sequences > 1 ? `${entry.sequences} sequences` : "";
  fieldOf(row, "warnings").replaceChildren(...entry.warnings.map((name) => element("li", { class: "chip warning" }, name)));
  row.querySelector("polyline").setAttribute("points", entry.spark);
}

function fillFinished(row, entry) {
  fillFields(row, entry);
  row.querySelector("a").href = `/runs/${entry.id}`;
  fieldOf(row, "steps").textContent = shown(entry.steps, 6);
  fieldOf(row, "flags").textContent = entry.flags.join(", ");
  const time = row.querySelector("time");
  time.dateTime = new Date(entry.started_ms).toISOString();
  time.textContent = new Date(entry.started_ms).toLocaleString("sv-SE"); // as the server writes it
}

function fillFields(row, entry) {
  for (const name of ["name", "service", "model"]) {
    const place = fieldOf(row, name);
    if (place !== null) place.textContent = entry[name];
  }
  showLevel(fieldOf(row, "level"), entry.level, entry.risk);
}

function fieldOf(row, name) {
  return row.querySelector(`[data-field="${name}"]`);
}

/** Show a risk level by colour and word, as the templates do. */
export function showLevel(place, level, risk) {
  const known = ["low", "medium", "high"].includes(level);
  place.className = `level ${known ? level : "unknown"}`;
  place.replaceChildren(level ?? "not judged", ...(risk === null ? [] : [" ", element("b", {}, risk.toFixed(2))]));
}

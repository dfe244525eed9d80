// Keys of the list of runs: j and k go from run to run, x chooses the run, Enter opens it as any link.

import { typing } from "./page.js";

const MOST_COMPARED = 4;

/** Let keys move through the list, and the button that compares tell how many runs are chosen. */
export function mountRunsList() {
  const links = [...document.querySelectorAll("a.run-link")];
  const boxes = [...document.querySelectorAll('input[name="run"]')];
  document.addEventListener("keydown", (event) => {
    if (links.length === 0 || (typing(event) && event.target.type !== "checkbox")) return;
    const here = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
    if (event.key === "j" || event.key === "k") {
      const to = event.key === "j" ? here + 1 : here === -1 ? 0 : here - 1;
      links[Math.min(Math.max(to, 0), links.length - 1)].focus();
      event.preventDefault();
    } else if (event.key === "x" && here >= 0) {
      boxes[here].click();
      event.preventDefault();
    }
  });
  for (const box of boxes) box.addEventListener("change", () => tellChosen(boxes));
  tellChosen(boxes);
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return; // a page that a browser kept has the fields as they were left, not as its list is
    document.querySelector("form.filters")?.reset();
    tellChosen(boxes);
  });
}

function tellChosen(boxes) {
  const button = document.querySelector("#compare button");
  if (button === null) return;
  const chosen = boxes.filter((box) => box.checked).length;
  button.disabled = chosen < 2 || chosen > MOST_COMPARED;
  button.textContent = chosen === 0 ? "Compare chosen runs" : `Compare ${chosen} chosen ${chosen === 1 ? "run" : "runs"}`;
}

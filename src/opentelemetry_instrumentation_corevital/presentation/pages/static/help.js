// Keys that work on every page: `/` goes to the search field, `?` shows which keys there are.

import { typing } from "./page.js";

/** Listen to the keys, and to the button that opens the help. */
export function mountHelp() {
  const dialog = document.getElementById("help");
  if (dialog === null) return;
  if (location.hash === "#search") goToSearch(""); // from a page without a search field
  for (const button of document.querySelectorAll("[data-opens-help]")) button.addEventListener("click", () => dialog.showModal());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
  document.addEventListener("keydown", (event) => {
    if (typing(event) || event.defaultPrevented) return;
    if (event.key === "?") dialog.open ? dialog.close() : dialog.showModal();
    else if (event.key === "/" && !dialog.open) goToSearch(dialog.dataset.search);
    else return;
    event.preventDefault();
  });
}

/* The search field of this page, or of the page that has one. */
function goToSearch(elsewhere) {
  const field = document.querySelector('input[type="search"]');
  if (field === null) return elsewhere === "" ? undefined : location.assign(elsewhere);
  field.focus();
  field.select();
}

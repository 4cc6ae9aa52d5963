"use strict";
// Sorting of the completions, and the enlarged view. Without this script the page shows everything but that view.
const grid = document.getElementById("grid");
const buttons = [...document.querySelectorAll("[data-sort]")];
for (const button of buttons) {
  button.addEventListener("click", () => {
    const key = button.dataset.sort;
    const sign = key === "score" ? -1 : 1;
    const items = [...grid.children].sort((a, b) => sign * (a.dataset[key] - b.dataset[key]) || a.dataset.number - b.dataset.number);
    grid.append(...items);
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
  });
}
const cards = () => [...document.querySelectorAll("[data-opens]")];
let opener = null;
function show(button) {
  opener = button;
  document.getElementById(button.dataset.opens).showModal();
}
function turn(dialog, by) {
  const all = cards();
  const place = all.findIndex((button) => button.dataset.opens === dialog.id);
  dialog.close();
  show(all[(place + by + all.length) % all.length]);
}
/** Whether a click was on what is behind a dialog; that counts as one on the dialog, as its padding does. */
function isOutside(dialog, event) {
  const box = dialog.getBoundingClientRect();
  const within = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
  return event.target === dialog && !within;
}
for (const button of cards()) button.addEventListener("click", () => show(button));
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => opener?.focus());
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (isOutside(dialog, event) || button?.hasAttribute("data-closes")) dialog.close();
    else if (button?.dataset.turn) turn(dialog, Number(button.dataset.turn));
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") turn(dialog, event.key === "ArrowLeft" ? -1 : 1);
  });
}
// The address of a notebook's frame is that of the notebook, which a link to a section would load there.
for (const link of location.protocol === "about:" ? document.querySelectorAll('a[href^="#"]') : []) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const section = document.getElementById(link.getAttribute("href").slice(1));
    section.tabIndex = -1;
    section.focus({ preventScroll: true });
    section.scrollIntoView();
  });
}
const opened = new Set();
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    opened.add(details);
    details.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
  opened.clear();
});

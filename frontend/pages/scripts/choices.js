// What a tab has to choose beside its thresholds: in how many tiles to look, and how many boxes to show.
import { text } from "./texts.js";

const form = (name) => document.querySelector(`[data-choices="${name}"]`);

// As the API takes it: nothing, `auto`, or columns and rows.
export function tiles(name) {
  const { tiles: how, columns, rows } = form(name)?.elements ?? {};
  if (how?.value !== "own") return how?.value ?? "";
  return `${whole(columns)}x${whole(rows)}`;
}

// Whether the service looks at tiles at all.
export function offered(name) {
  return Boolean(form(name)?.elements.tiles);
}

export function choose(name, asked) {
  if (!offered(name) || tiles(name) === asked) return;
  const { tiles: how, columns, rows } = form(name).elements;
  if (/^\d+x\d+$/.test(asked)) [columns.value, rows.value] = asked.split("x");
  how.value = asked && asked !== "auto" ? "own" : asked;
  seen(name);
}

export function most(name) {
  const field = form(name)?.elements.most;
  return field ? whole(field) : Infinity;
}

export function allowed(name) {
  return Number(form(name)?.elements.most.max);
}

export function limit(name, number) {
  const field = form(name)?.elements.most;
  if (field) field.value = Math.min(Number(field.max), Math.max(1, Math.round(number) || 1));
}

// Called when another number of boxes is chosen, or other tiles: those once they are whole, for each
// run of them is the work of dozens of images.
export function watch(name, { boxes, cut }) {
  for (const option of form(name).elements.tiles?.options ?? []) {
    option.textContent = text(`tiles.${option.value || "off"}`);
  }
  form(name).inert = false; // until now nobody listened
  document.addEventListener("submit", (event) => { if (event.target === form(name)) event.preventDefault(); });
  document.addEventListener("input", (event) => {
    if (event.target.form === form(name) && event.target.name === "most" && event.target.validity.valid) boxes();
  });
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (!field.form || field.form !== form(name)) return;
    if (!field.validity.valid || field.type === "number") field.value = whole(field);
    seen(name);
    if (field.name === "most") boxes();
    else cut();
  });
}

function seen(name) {
  form(name).querySelector(".ds-pair").hidden = form(name).elements.tiles.value !== "own";
}

function whole(field) {
  const number = Math.round(Number(field.value)) || Number(field.defaultValue);
  return Math.min(Number(field.max), Math.max(Number(field.min), number));
}

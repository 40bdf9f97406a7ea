// Which model a tab's images ask for. There is a choice where workers serve others beside the default one.
import * as sliders from "./sliders.js";
import { text } from "./texts.js";

let offered = []; // what is served now
const was = {};

const field = (name) => document.querySelector(`select[data-models="${name}"]`);
const found = (asked) => offered.find((model) => model.asked === asked);

// Empty for the default one.
export function chosen(name) {
  return field(name)?.value ?? "";
}

// Also one that is not served at present: then that is what a run says.
export function choose(name, asked) {
  if (!field(name)) return;
  was[name] = asked;
  fill(field(name), asked);
}

// As if a person had chosen it.
export function ask(name, asked) {
  const before = chosen(name);
  choose(name, asked);
  follow(name, before, asked);
}

// Called with a tab's own script, which comes when the tab is opened first.
export function watch(name, moved) {
  if (field(name)) fill(field(name));
  document.addEventListener("change", (event) => {
    if (event.target !== field(name)) return;
    const before = was[name] ?? "";
    was[name] = chosen(name);
    follow(name, before, was[name]);
    moved();
  });
}

// Thresholds that stand where the model has them go to where the other one has its own.
function follow(name, before, after) {
  for (const which of ["score", "iou"]) {
    const from = found(before)?.[which], to = found(after)?.[which];
    if (from == null || to == null || Math.abs(sliders.value(name, which) - from) > 0.006) continue;
    sliders.put(name, which, Number(to.toFixed(2)));
  }
}

function fill(select, asked = select.value) {
  const line = ({ name, version }) => `${name} ${version}`.trim(), own = found("");
  const every = offered.filter((model) => model.asked).map((model) => [model.asked, line(model)]);
  every.unshift(["", own ? text("models.default", { model: line(own) }) : text("models.default.unknown")]);
  if (!every.some(([name]) => name === asked)) every.push([asked, asked]);
  const same = every.length === select.options.length &&
    every.every(([name, line], at) => select.options[at].value === name && select.options[at].text === line);
  if (!same) select.replaceChildren(...every.map(([name, line]) => new Option(line, name)));
  select.value = asked;
  select.closest("label").hidden = every.length < 2;
}

function hear(state) {
  if (!state || state.away) return; // who does not answer may serve them still
  offered = state.models ?? [];
  for (const select of document.querySelectorAll("select[data-models]")) fill(select);
}

document.addEventListener("ds-service", (event) => hear(event.detail));
hear(document.documentElement.service);

// The thresholds of a tab, as its sliders have them.
import { hear } from "./hear.js";

const field = (name, which) => document.querySelector(`#${name}-${which} input[type=number]`);

// The page sets them to the model's own when it opens; whoever is quicker waits, but not for long.
export const ready = Promise.race([
  new Promise((done) => hear("ds-thresholds", done)),
  new Promise((done) => setTimeout(done, 3000)),
]);

export function value(name, which) {
  return Number(field(name, which)?.value);
}

// As if a person had typed it.
export function put(name, which, number) {
  const input = field(name, which);
  if (!input || Number(input.value) === number) return;
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, number);
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

// Called with the new number whenever one moves: by mouse, keys or typing.
export function watch(name, which, moved) {
  document.addEventListener("input", (event) => {
    if (!event.target.closest?.(`#${name}-${which}`)) return;
    const given = event.target.value.trim(), number = Number(given);
    // While it is being typed it may be no number yet.
    if (given && number >= 0.01 && number <= 0.99) moved(number);
  });
}

// The page's texts in the browser's language, and its lines about what goes on.
const host = () => document.querySelector(".ds-notices");
let words = null;

export function text(key, values = {}) {
  words ??= JSON.parse(host().dataset.texts)[document.documentElement.dataset.lang];
  return fill(words[key], values);
}

export const chinese = () => document.documentElement.dataset.lang === "zh";

export function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

// As many digits as are of use, as frontend/pages/timings.py has it; a unit stays with its figure.
export function milliseconds(value) {
  if (value >= 1000) return `${(value / 1000).toFixed(2)}\u00a0s`;
  return `${value.toFixed(value < 1 ? 2 : value < 10 ? 1 : 0)}\u00a0ms`;
}

// A line above the page while something is waited for; nothing, and it is gone.
export function waiting(line, moment = "") {
  const place = host().querySelector(".ds-wait");
  place.hidden = !line;
  if (!line) {
    place.replaceChildren();
    return;
  }
  if (!place.firstChild) {
    place.append(document.createElement("span"), document.createElement("b"));
    place.lastChild.setAttribute("aria-hidden", "true"); // seconds that run are not read out
  }
  // Written anew it would be read out anew.
  if (place.firstChild.textContent !== line) place.firstChild.textContent = line;
  place.lastChild.textContent = moment;
}

export function failure(line, link) {
  const shown = document.createElement("p");
  shown.className = "ds-error";
  shown.setAttribute("role", "alert");
  shown.append(document.createElement("span"));
  shown.firstChild.textContent = line;
  if (link) {
    const way = document.createElement("a");
    [way.href, way.textContent] = link;
    shown.append(way);
  }
  return shown;
}

// The service says every few seconds how it is; where it cannot detect, this says so first.
document.addEventListener("ds-service", (event) => tell(event.detail));

export function tell(state) {
  const place = host()?.querySelector(".ds-down");
  if (!place || !state) return;
  place.hidden = state.ready;
  const line = state.away ? text("down.away") : [state.text, state.hint].filter(Boolean).join(chinese() ? "。" : ". ");
  if (!state.ready && place.textContent !== line) place.textContent = line;
}

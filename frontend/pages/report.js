// The days that are chosen are in the page's address; times are of the browser's own zone.
const page = element.querySelector(".ds-report");
const form = page.querySelector("form");
const frame = page.querySelector("iframe");
const failure = page.querySelector(".ds-error");
const state = page.querySelector(".ds-state");
const language = document.documentElement.dataset.lang === "zh" ? "zh" : "en";
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
let asked = null;
let fitted = 0;

function chosen() {
  const days = Number(new URLSearchParams(location.search).get("days"));
  const { min, max, defaultValue } = form.days;
  return Number.isInteger(days) && days >= Number(min) && days <= Number(max) ? days : Number(defaultValue);
}

function address(days, format) {
  const query = new URLSearchParams({ days, format, language, timezone: zone });
  return `api/v1/report?${query}`;
}

function label(days) {
  form.querySelector("output b").textContent = days;
  form.querySelector("[data-one]").hidden = days !== 1;
  form.querySelector("[data-many]").hidden = days === 1;
}

function fit() {
  const inside = frame.contentDocument?.documentElement;
  if (!inside) return;
  fitted = page.clientWidth;
  frame.style.height = "0"; // so that it can become shorter too
  frame.style.height = `${inside.scrollHeight}px`;
}

async function show() {
  const days = chosen();
  form.days.value = days;
  label(days);
  form.querySelectorAll("[data-format]").forEach((link) => {
    link.href = address(days, link.dataset.format);
  });
  asked?.abort();
  const mine = asked = new AbortController();
  state.hidden = false;
  try {
    const answer = await fetch(address(days, "html"), { signal: mine.signal });
    const text = await answer.text();
    failure.hidden = answer.ok;
    frame.hidden = !answer.ok;
    if (answer.ok) {
      frame.dataset.days = days;
      frame.srcdoc = text;
    } else {
      failure.querySelector("[data-why]").textContent = JSON.parse(text).detail ?? "";
    }
  } catch (error) {
    if (mine.signal.aborted) return;
    failure.hidden = false;
    frame.hidden = true;
    failure.querySelector("[data-why]").textContent = "";
  }
  if (asked === mine) state.hidden = true;
}

frame.addEventListener("load", fit);
new ResizeObserver(() => { if (page.clientWidth !== fitted) fit(); }).observe(page);
form.days.addEventListener("input", () => label(Number(form.days.value)));
form.days.addEventListener("change", () => {
  history.pushState(null, "", `${location.pathname}?days=${form.days.value}`);
  show();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.print.addEventListener("click", () => frame.contentWindow.print());
window.addEventListener("popstate", show);
form.inert = false;
show();

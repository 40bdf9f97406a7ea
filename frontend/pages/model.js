// What is shown is asked for while the page is seen, and often while workers are being switched.
const page = element.querySelector(".ds-model");
const place = page.querySelector(".ds-shown");
const failure = page.querySelector(".ds-error");
const language = document.documentElement.dataset.lang === "zh" ? "zh" : "en";
const REFRESH_MS = 5000, SWITCHING_MS = 1000, ANSWER_MS = 30_000;
const STOPS = "a, button, summary, [tabindex]"; // of the keyboard
let shown = null;
let timer = 0;
let asked = 0, answeredBy = 0; // how often it was, and of which question the answer is shown

function said(key) {
  return page.getAttribute(`data-${language}-model-${key}`);
}

function fail(text) {
  failure.textContent = text;
  failure.hidden = !text;
}

// Puts HTML in place without closing what was opened, or taking the focus away.
function put(html) {
  const opened = [...place.querySelectorAll("details")].map((each) => each.open);
  const before = document.activeElement, stop = [...place.querySelectorAll(STOPS)].indexOf(before);
  place.innerHTML = html;
  place.querySelectorAll("details").forEach((each, index) => { each.open = opened[index] ?? false; });
  place.querySelectorAll("time").forEach((each) => {
    each.textContent = new Date(each.dateTime).toLocaleString(navigator.language);
  });
  if (stop < 0) return;
  const same = (each) => each?.tagName === before.tagName && each.dataset.use === before.dataset.use;
  const stops = [...place.querySelectorAll(STOPS)];
  (same(stops[stop]) ? stops[stop] : stops.find((each) => each.dataset.use && same(each)))?.focus({ preventScroll: true });
}

async function refresh() {
  clearTimeout(timer);
  const mine = ++asked;
  let answered = false;
  if (!document.hidden) {
    try {
      const answer = await fetch("pages/model", { signal: AbortSignal.timeout(ANSWER_MS) });
      const html = await answer.text();
      if (answer.ok && mine > answeredBy) { // or else a later question was answered before
        answeredBy = mine;
        answered = true;
        if (html !== shown) document.documentElement.whenLetGo(place, () => put(html));
        shown = html;
      }
    } catch {
      // the header says that the service is away
    }
  }
  const switching = answered && place.querySelector('[data-switching="1"]');
  clearTimeout(timer);
  timer = setTimeout(refresh, switching ? SWITCHING_MS : REFRESH_MS);
}

async function use(name) {
  const question = name ? said("ask").replace("{name}", name) : said("ask-reset");
  if (!confirm(question)) return;
  fail("");
  try {
    const answer = await fetch("api/v1/models/use", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: name || null }),
    });
    if (!answer.ok) fail(said("switch-refused") + (await answer.json()).detail);
  } catch {
    fail(said("away"));
  }
  refresh();
}

place.addEventListener("click", (event) => {
  const button = event.target.closest("[data-use]");
  if (button) use(button.dataset.use);
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();

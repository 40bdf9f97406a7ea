// The list refreshes itself while it is seen; what is chosen and filtered is in the address.
const list = element.querySelector(".ds-rows");
const detail = element.querySelector(".ds-detail");
const filter = element.querySelector(".ds-filter");
const page = element.querySelector(".ds-traces");
const REFRESH_MS = 3000, RETRY_MS = 500, RETRIES = 12;
let shown = null;
let shownRows = null;

function address() {
  return new URLSearchParams(location.search);
}

function localTimes(root) {
  const format = new Intl.DateTimeFormat(navigator.language, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23",
  });
  root.querySelectorAll("time").forEach((time) => {
    const at = new Date(time.dateTime);
    time.textContent = format.format(at);
    time.title = at.toLocaleString();
  });
}

function mark() {
  list.querySelectorAll("tr[data-trace]").forEach((row) => {
    row.classList.toggle("chosen", row.dataset.trace === shown);
  });
}

async function refresh() {
  const asked = address();
  const query = new URLSearchParams();
  if (asked.get("status")) query.set("status", asked.get("status"));
  if (Number(asked.get("min")) > 0) query.set("min_duration_ms", asked.get("min"));
  let html;
  try {
    const answer = await fetch(`pages/traces?${query}`);
    if (!answer.ok) return;
    html = await answer.text();
  } catch {
    return; // the header says that the service is away
  }
  if (html === shownRows) return;
  shownRows = html;
  list.innerHTML = html;
  localTimes(list);
  mark();
}

async function open(id, spans) {
  shown = id;
  page.classList.toggle("open", Boolean(id));
  mark();
  if (!id) {
    detail.innerHTML = "";
    return;
  }
  for (let attempt = 0; attempt < RETRIES && shown === id; attempt++) {
    const query = spans ? `?spans=${encodeURIComponent(spans)}` : "";
    const answer = await fetch(`pages/traces/${encodeURIComponent(id)}${query}`).catch(() => null);
    if (shown !== id) return;
    const html = answer?.ok ? await answer.text() : "";
    const unfolded = [...detail.querySelectorAll("details[open]")].map((d) => d.dataset.span);
    if (html) detail.innerHTML = html;
    detail.querySelectorAll("details").forEach((d) => { d.open = unfolded.includes(d.dataset.span); });
    if (detail.querySelector('[data-complete="1"]')) return;
    if (answer && !answer.ok) break;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  detail.querySelector("[data-waiting]")?.setAttribute("hidden", "");
  detail.querySelector("[data-missing]")?.removeAttribute("hidden");
}

function go(changes) {
  const next = address();
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  const query = next.toString();
  history.pushState(null, "", location.pathname + (query ? `?${query}` : ""));
  show();
}

function show() {
  const asked = address();
  filter.querySelectorAll(".ds-choice button").forEach((button) => {
    button.setAttribute("aria-pressed", button.value === (asked.get("status") ?? ""));
  });
  if (document.activeElement !== filter.min) filter.min.value = asked.get("min") ?? "";
  refresh();
  if ((asked.get("trace") ?? null) !== shown) open(asked.get("trace"));
}

element.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target.closest('a[href^="traces"]');
  const row = event.target.closest("tr[data-trace]");
  const choice = event.target.closest(".ds-choice button");
  const more = event.target.closest("[data-more]");
  if (more) open(shown, more.dataset.more);
  else if (choice) go({ status: choice.value });
  else if (link) go({ trace: new URL(link.href).searchParams.get("trace") });
  else if (row) go({ trace: row.dataset.trace });
  else return;
  event.preventDefault();
});
filter.addEventListener("submit", (event) => {
  event.preventDefault();
  refresh();
});
filter.min.addEventListener("change", () => go({ min: Number(filter.min.value) > 0 ? filter.min.value : "" }));
window.addEventListener("popstate", show);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
setInterval(() => { if (!document.hidden && filter.auto.checked) refresh(); }, REFRESH_MS);
show();

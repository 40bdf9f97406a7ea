// The list refreshes itself while it is seen; what is chosen and filtered is in the address.
const list = element.querySelector(".ds-rows");
const detail = element.querySelector(".ds-detail");
const filter = element.querySelector(".ds-filter");
const page = element.querySelector(".ds-traces");
const REFRESH_MS = 3000, ANSWER_MS = 60_000, RETRY_MS = 500, RETRIES = 20;
const found = element.querySelector(".ds-found");
const MORE = [
  "outcome", "code", "label", "client", "worker", "model", "model_version", "route",
  "min_score", "max_score", "min_duration_ms", "max_duration_ms",
];
const FIELDS = ["window", "from", "to", "order", "id", ...MORE];
const NAMES = ["status", ...FIELDS];
const PICTURE_MS = 1000;
const { whenLetGo } = document.documentElement;
const asking = {};
let shown = null, opening = null;
let shownRows = null, shownCounts = null, shownQuestion = null;

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

// What the service is asked, as the address has it.
function question() {
  const query = address();
  query.delete("trace");
  for (const name of [...query.keys()]) if (!NAMES.includes(name)) query.delete(name);
  return query;
}

// Of answers to one kind of question only the one to the last is shown.
// What is given up, or not answered by a service that stands still.
function within(signal) {
  return AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
}

// Null where there is nothing new. A question that is not answered yet is not asked again: an answer that takes
// longer than the pause between two would never come.
async function ask(kind, path) {
  if (asking[kind]?.path === path) return null;
  asking[kind]?.abort();
  const mine = (asking[kind] = Object.assign(new AbortController(), { path }));
  try {
    const answer = await fetch(path, { signal: within(mine.signal) });
    const text = await answer.text();
    if (asking[kind] !== mine) return null;
    if (answer.ok) return text;
    if (answer.status !== 422) return null;
    const problem = document.createElement("p");
    problem.className = "ds-error";
    problem.setAttribute("role", "alert");
    problem.textContent = JSON.parse(text).detail;
    return problem.outerHTML;
  } catch {
    return null; // given up for another, or the service is away, which the header says
  } finally {
    if (asking[kind] === mine) asking[kind] = null;
  }
}

// Puts HTML in place without taking the keyboard's focus away from what is still there.
function put(place, html) {
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const by = focused && ["data-trace", "data-from"].find((name) => focused.closest(`[${name}]`));
  const value = by && focused.closest(`[${by}]`).getAttribute(by);
  place.innerHTML = html;
  if (by) {
    const again = place.querySelector(`[${by}="${CSS.escape(value)}"]`);
    (again?.querySelector("a") ?? again)?.focus({ preventScroll: true });
  }
}

async function refresh() {
  const query = question();
  count(query);
  if (list.querySelectorAll("table").length > 1) return; // further pages stay where they are
  await first(query);
}

async function count(query) {
  const counted = new URLSearchParams(query);
  counted.delete("order");
  const html = await ask("count", `pages/traces/histogram?${counted}`);
  if (html === null || html === shownCounts) return;
  shownCounts = html;
  whenLetGo(found, () => put(found, html.includes("ds-error") ? "" : html));
}

async function first(query) {
  const html = await ask("list", `pages/traces?${query}`);
  if (html === null || html === shownRows) return;
  shownRows = html;
  whenLetGo(list, () => {
    if (shownRows !== html) return; // something else is asked by now
    put(list, html);
    localTimes(list);
    mark();
  });
}

async function more(button) {
  button.disabled = true;
  const query = question();
  query.set("cursor", button.dataset.cursor);
  const html = await ask("list", `pages/traces?${query}`);
  button.disabled = false;
  if (html === null) return;
  const page = document.createElement("div");
  page.innerHTML = html;
  localTimes(page);
  button.parentElement.replaceWith(page);
  shownRows = null;
  page.querySelector("a")?.focus();
  mark();
}

// Shows what stands beside the list, or takes it away. Where there is room for one of the two, the
// keyboard's place goes along, and back to the row.
function beside(seen, row) {
  const region = list.closest(".ds-list");
  const from = [region, detail].find((part) => part.contains(document.activeElement));
  page.classList.toggle("open", seen);
  if (seen && from === region && !region.checkVisibility()) {
    detail.tabIndex = -1;
    detail.focus();
  } else if (!seen && from === detail) {
    list.querySelector(`tr[data-trace="${CSS.escape(row)}"] a`)?.focus();
  }
}

async function open(id, spans) {
  opening?.abort();
  const mine = (opening = new AbortController());
  const before = shown;
  shown = id;
  beside(Boolean(id), before);
  mark();
  if (!id) {
    detail.innerHTML = "";
    return;
  }
  const query = spans ? `?spans=${encodeURIComponent(spans)}` : "";
  const path = `pages/traces/${encodeURIComponent(id)}${query}`;
  let drawn = null;
  for (let attempt = 1; ; attempt++) {
    const answer = await fetch(path, { signal: within(mine.signal) }).catch(() => null);
    const html = answer?.ok ? await answer.text().catch(() => "") : "";
    await new Promise((done) => { whenLetGo(detail, done); });
    if (opening !== mine) return; // another trace is wanted by now, or more of this one
    if (html && html !== drawn) fill(html);
    drawn = html || drawn;
    if (drawn && detail.querySelector('[data-complete="1"]')) return picture(path, mine);
    const refused = answer?.status >= 400 && answer.status < 500;
    if (refused || attempt >= RETRIES) {
      detail.querySelector("[data-waiting]")?.setAttribute("hidden", "");
      detail.querySelector("[data-missing]")?.removeAttribute("hidden");
    }
    if (refused) return;
    // An image may have waited long, or its spans be late: whoever still looks sees them come.
    const wait = attempt < RETRIES ? RETRY_MS : REFRESH_MS;
    do await new Promise((resolve) => setTimeout(resolve, wait));
    while (document.hidden && opening === mine);
    if (opening !== mine) return;
  }
}

function fill(html) {
  const unfolded = [...detail.querySelectorAll("details[open]")].map((d) => d.dataset.span);
  detail.innerHTML = html;
  localTimes(detail);
  detail.querySelectorAll("details").forEach((d) => { d.open = unfolded.includes(d.dataset.span); });
}

// A worker makes the picture after its answer: it is put beside the spans when it is there. The service
// says for how long it may still come.
async function picture(path, mine) {
  for (let attempt = 1; detail.querySelector("[data-awaited]"); attempt++) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(attempt * PICTURE_MS, REFRESH_MS)));
    if (opening !== mine) return;
    const answer = await fetch(path, { signal: within(mine.signal) }).catch(() => null);
    const html = answer?.ok ? await answer.text().catch(() => "") : "";
    await new Promise((done) => { whenLetGo(detail, done); });
    if (opening !== mine) return;
    const made = document.createElement("template");
    made.innerHTML = html;
    const seen = made.content.querySelector(".ds-seen-images");
    const before = detail.querySelector(".ds-seen-images");
    if (!html || before.outerHTML === seen?.outerHTML) continue;
    if (seen) before.replaceWith(seen);
    else before.remove();
  }
}

function go(changes) {
  const next = address();
  for (const [name, value] of Object.entries(changes)) {
    if (value) next.set(name, value);
    else next.delete(name);
  }
  const query = next.toString();
  // Enter in a field tells of it twice: one step Back undoes it.
  if (query !== address().toString()) {
    history.pushState(null, "", location.pathname + (query ? `?${query}` : ""));
  }
  show();
}

function localMoment(iso) {
  const at = new Date(/^\d+(\.\d+)?$/.test(iso) ? iso * 1000 : iso);
  if (isNaN(at)) return "";
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

function show() {
  const asked = address();
  filter.querySelectorAll(".ds-choice button").forEach((button) => {
    button.setAttribute("aria-pressed", button.value === (asked.get("status") ?? ""));
  });
  const ranged = asked.has("from") || asked.has("to");
  for (const name of FIELDS) {
    const field = filter.elements[name];
    if (field === document.activeElement && field.type !== "select-one") continue;
    const value = asked.get(name) ?? "";
    field.value = field.type === "datetime-local" ? localMoment(value) : value;
  }
  if (ranged) filter.elements.window.value = "range";
  filter.querySelector(".ds-range").hidden = filter.elements.window.value !== "range";
  if (MORE.some((name) => asked.has(name))) filter.querySelector(".ds-more").open = true;
  const asks = question().toString();
  if (asks !== shownQuestion) {
    shownQuestion = asks;
    list.replaceChildren();
    shownRows = null;
  }
  refresh();
  const path = compared(asked);
  if (path !== null) {
    if (path !== shown) compare(path);
  } else if ((asked.get("trace") ?? null) !== shown) open(asked.get("trace"));
}

function changed(field) {
  const value = field.value.trim();
  if (field.name === "window") {
    if (value === "range") {
      const now = new Date();
      go({ window: "", from: new Date(now - 3600_000).toISOString(), to: now.toISOString() });
    } else go({ window: value, from: "", to: "" });
  } else if (field.type === "datetime-local") {
    go({ [field.name]: value ? new Date(value).toISOString() : "" });
  } else if (FIELDS.includes(field.name)) go({ [field.name]: value });
}

element.addEventListener("click", (event) => {
  const bar = event.target.closest("[data-from]");
  if (bar) {
    if (!dropped) select(bar, event.shiftKey);
    event.preventDefault();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target.closest('a[href^="traces"]');
  const row = event.target.closest("tr[data-trace]");
  const choice = event.target.closest(".ds-choice button");
  const spans = event.target.closest("[data-more]");
  const next = event.target.closest("[data-cursor]");
  const clear = event.target.closest("[data-clear]");
  if (spans) open(shown, spans.dataset.more);
  else if (next) more(next);
  else if (clear) go(Object.fromEntries([...NAMES].map((name) => [name, ""])));
  else if (choice) go({ status: choice.value });
  else if (picking && row) {
    const id = picking;
    pick(null);
    go({ trace: id, with: row.dataset.trace });
  } else if (link) go({ trace: new URL(link.href).searchParams.get("trace"), with: "", compare: "" });
  else if (row) go({ trace: row.dataset.trace, with: "", compare: "" });
  else return;
  event.preventDefault();
});
filter.addEventListener("submit", (event) => {
  event.preventDefault();
  if (FIELDS.includes(document.activeElement.name)) changed(document.activeElement);
  else {
    list.replaceChildren();
    shownRows = null;
    refresh();
  }
});
filter.addEventListener("change", (event) => changed(event.target));
// An option has room for one language only.
filter.querySelectorAll("option").forEach((option) => {
  const text = option.querySelector(`.${document.documentElement.dataset.lang}`);
  if (text) option.textContent = text.textContent;
});
// What there is to choose from is asked for when somebody is about to.
filter.querySelector(".ds-more").addEventListener("toggle", async (event) => {
  const text = event.target.open ? await ask("known", "pages/traces/known") : null;
  if (text === null) return;
  for (const [name, values] of Object.entries(JSON.parse(text))) {
    document.getElementById(`ds-known-${name}`).replaceChildren(...values.map((value) => new Option(value, value)));
  }
});
window.addEventListener("popstate", show);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
filter.inert = false;
setInterval(() => { if (!document.hidden && filter.elements.auto.checked) refresh(); }, REFRESH_MS);
show();

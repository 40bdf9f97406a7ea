// Several images: how far they are, what was found in them, and a look at each.
import * as choices from "./choices.js";
import { hear } from "./hear.js";
import { ANSWER_MS, kept } from "./kept.js";
import * as mine from "./mine.js";
import * as models from "./models.js";
import { draw, empty, run } from "./run.js";
import * as sliders from "./sliders.js";
import { failure, milliseconds, text } from "./texts.js";
import { View } from "./view.js";

const EVERY_MS = 300, AWAY_MS = 5000; // how often it is asked, and at most while nobody answers
const PAGE = 24; // cards that are there at once
const RECENT_S = 10; // seconds over which the rate is taken

let host;
let ids = []; // of what is chosen
let batch = null;
let restoring = null; // what is asked for by its address
let wanted = null; // thresholds of its address, as long as the page may still set its own

export function start(element) {
  host = element;
  host.addEventListener("click", click);
  host.addEventListener("change", (event) => {
    if (!batch || !event.target.closest(".ds-filter")) return;
    batch.page = 0;
    show();
  });
  host.addEventListener("submit", (event) => event.preventDefault());
  host.addEventListener("ds-labels", (event) => {
    if (!batch) return;
    batch.hidden = event.detail;
    look();
  });
  host.addEventListener("keydown", (event) => {
    if (!host.querySelector("dialog")?.open) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
  });
  hear("ds-photos", (told) => {
    ids = told.ids;
    if (told.come) detect();
  });
  hear("ds-detect", (tab) => { if (tab === "several") detect(); });
  hear("ds-thresholds", () => {
    aim(wanted ?? {});
    show(); // what came before them follows them
  });
  let redraw;
  sliders.watch("several", "score", () => {
    wanted = null;
    clearTimeout(redraw);
    redraw = setTimeout(shown, 30);
  });
  sliders.watch("several", "iou", () => {
    wanted = null;
    show();
  });
  choices.watch("several", { boxes: shown, cut: show });
  models.watch("several", show);
  addEventListener("pagehide", leave);
  addEventListener("popstate", restore);
  restore();
}

// Shown anew, and noted where this is what the address names.
function shown() {
  show();
  if (batch && new URLSearchParams(location.search).get("batch") === batch.id) note();
}

// ---- the address

const ID = /^[0-9a-f]{32}$/;

// These images are found again after Back and a reload, at the same score.
function note() {
  const next = new URLSearchParams(location.search), { id } = batch;
  const fresh = next.get("batch") !== id;
  for (const name of ["result", "batch", "score", "hide", "tiles", "most", "model"]) next.delete(name);
  next.set("batch", id);
  next.set("score", sliders.value("several", "score"));
  if (batch.tiles) next.set("tiles", batch.tiles);
  if (batch.model) next.set("model", batch.model);
  if (choices.most("several") < choices.allowed("several")) next.set("most", choices.most("several"));
  history[fresh ? "pushState" : "replaceState"](null, "", `${location.pathname}?${next}`);
}

async function restore() {
  const asked = new URLSearchParams(location.search), id = asked.get("batch");
  if (!id || id === batch?.id) return;
  const say = (why) => place(failure(why).outerHTML);
  const still = () => restoring === id && new URLSearchParams(location.search).get("batch") === id;
  leave();
  restoring = id;
  if (!ID.test(id)) return say(text("several.gone.link"));
  let html;
  try {
    html = await kept(`pages/batches/${id}/view`, still);
  } catch (error) {
    return say(error.message);
  }
  await sliders.ready;
  if (html === null || !still()) return;
  if (!html) return say(text("several.gone.link"));
  const score = Number(asked.get("score"));
  aim({ score });
  choices.limit("several", asked.get("most") ?? choices.allowed("several"));
  place(html);
  choices.choose("several", batch.tiles);
  models.choose("several", batch.model);
  aim({ score, iou: batch.iou });
  show();
}

function aim(thresholds) {
  for (const [which, number] of Object.entries(thresholds)) {
    if (number >= 0.01 && number <= 0.99) sliders.put("several", which, number);
  }
  wanted = document.told?.["ds-thresholds"] ? null : thresholds; // what has moved them forgets it
}

// ---- the images on their way

async function detect() {
  leave(); // what went on before is not looked at any more
  if (!ids.length) return place(empty("first", "empty.several.hint"));
  host.classList.add("ds-busy");
  await sliders.ready;
  try {
    const html = await run("several", ids.join(" "));
    if (html !== null) place(html);
  } catch (error) {
    place(failure(error.message).outerHTML);
  }
}

function leave() {
  if (batch?.asking) {
    batch.asking.abort();
    if (!batch.elsewhere) fetch(batch.address, { method: "DELETE", keepalive: true }).catch(() => {});
  }
  batch?.open?.close();
  host.querySelector("dialog[open]")?.close();
  batch = restoring = null;
}

function place(html) {
  draw(host, html);
  host.classList.remove("ds-busy");
  const view = host.querySelector(".ds-batch");
  if (!view) return;
  batch = {
    view,
    id: view.dataset.batch,
    address: `pages/batches/${view.dataset.batch}`,
    count: Number(view.dataset.count),
    iou: Number(view.dataset.iou),
    tiles: view.dataset.tiles,
    model: view.dataset.model,
    elsewhere: "elsewhere" in view.dataset, // another process ran them
    asking: new AbortController(),
    items: [],
    times: [[performance.now(), 0]],
    page: 0,
    hidden: new Set(),
  };
  note();
  show();
  if (matchMedia("(max-width: 767px)").matches) host.scrollIntoView({ block: "start" });
  follow(batch);
}

async function follow(mine) {
  let wait = EVERY_MS;
  while (batch === mine && mine.asking) {
    let more = false;
    try {
      const signal = AbortSignal.any([mine.asking.signal, AbortSignal.timeout(ANSWER_MS)]);
      const answer = await fetch(`${mine.address}?since=${mine.items.length}`, { signal });
      if (batch !== mine || !mine.asking) return;
      if (answer.status === 404) return end(text("several.gone"));
      if (!answer.ok) throw new Error(answer.status);
      const told = await answer.json();
      if (batch !== mine || !mine.asking) return;
      mine.items.push(...told.items);
      mine.times = [...mine.times.slice(-99), [performance.now(), mine.items.length]];
      more = told.items.length > 0;
      if (told.finished) end(mine.items.length < told.count ? text("several.cancelled") : "");
      else if (more || mine.times.length < 3) show();
      wait = EVERY_MS;
    } catch {
      wait = Math.min(2 * wait, AWAY_MS); // the service does not answer; it may again
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}

function end(why) {
  batch.asking = null;
  batch.why = why;
  mine.add(batch.items.filter((item) => item.job).reverse().map(({ job, trace, name, boxes, score }) => ({
    job, trace, name, at: Date.now(), found: boxes.filter((box) => box[1] >= score).length,
  })));
  show();
}

function cancel() {
  batch.asking.abort();
  fetch(batch.address, { method: "DELETE" }).catch(() => {});
  end(text("several.cancelled"));
}

// ---- what is seen of them

// Boxes of an item that the thresholds let through.
function reached(item) {
  const score = sliders.value("several", "score");
  const label = batch.view.querySelector('[name="label"]').value;
  return (item.boxes ?? []).filter((box) =>
    box[1] >= score && (!label || item.labels[box[0]][0] === label)).slice(0, choices.most("several"));
}

function chosen() {
  const form = batch.view.querySelector(".ds-filter");
  const seen = batch.items.map((item) => ({ item, found: reached(item) }));
  const wanted = {
    all: () => true,
    found: ({ found }) => found.length > 0,
    nothing: ({ item, found }) => !item.error && !found.length,
    failed: ({ item }) => item.error,
  }[form.elements.see.value];
  const by = {
    given: (a, b) => a.item.place - b.item.place,
    name: (a, b) => a.item.name.localeCompare(b.item.name, undefined, { numeric: true }),
    found: (a, b) => b.found.length - a.found.length,
    score: (a, b) => (b.found[0]?.[1] ?? -1) - (a.found[0]?.[1] ?? -1),
    slowest: (a, b) => (b.item.ms ?? -1) - (a.item.ms ?? -1),
  };
  const order = form.elements.order.value;
  return [seen, seen.filter(wanted).sort((a, b) => by[order](a, b) || by.given(a, b))];
}

function show() {
  if (!batch) return;
  const { view, count, items } = batch, done = !batch.asking;
  labels();
  const [every, listed] = chosen();
  batch.listed = listed;
  const pages = Math.max(1, Math.ceil(listed.length / PAGE));
  batch.page = Math.min(batch.page, pages - 1);
  const part = listed.slice(batch.page * PAGE, (batch.page + 1) * PAGE);
  view.dataset.done = Number(done);
  title(every);
  const bar = view.querySelector(".ds-progress");
  bar.setAttribute("aria-valuenow", items.length);
  bar.firstElementChild.style.width = `${(100 * items.length) / count}%`;
  view.querySelector('[data-do="cancel"]').hidden = done || batch.elsewhere;
  keep(view.querySelector(".ds-cards"), part);
  const pager = view.querySelector(".ds-pages");
  pager.hidden = pages < 2;
  const first = batch.page * PAGE;
  pager.querySelector("span").textContent =
    text("several.page", { first: first + 1, last: first + part.length, count: listed.length });
  pager.querySelector('[data-do="before"]').disabled = !batch.page;
  pager.querySelector('[data-do="after"]').disabled = batch.page >= pages - 1;
  table(part);
  const query = new URLSearchParams({ score: sliders.value("several", "score"), most: choices.most("several") });
  const downloads = view.querySelector(".ds-downloads");
  downloads.hidden = !done || batch.elsewhere || !items.some((item) => item.job);
  downloads.querySelectorAll("a[data-file]").forEach((link) => {
    link.href = `${link.getAttribute("href").split("?")[0]}?${query}`;
  });
  const old = Math.abs(batch.iou - sliders.value("several", "iou")) > 1e-6;
  const line = view.querySelector(".ds-outdated");
  const lowest = Math.max(0, ...items.map((item) => (item.cut ? 0 : item.lowest ?? 0)));
  const lower = sliders.value("several", "score") < lowest - 1e-6;
  const tiles = choices.offered("several") && batch.tiles !== choices.tiles("several");
  const model = batch.model !== models.chosen("several");
  line.hidden = !old && !tiles && !model && !lower && !batch.why;
  line.textContent = [
    batch.why,
    model && text("several.outdated.model"),
    old && text("several.outdated", { iou: batch.iou.toFixed(2) }),
    tiles && text("several.outdated.tiles"),
    lower && text("several.outdated.score", { lowest: lowest.toFixed(2) }),
  ].filter(Boolean).join(" ");
  const large = items.filter((item) => item.large).length, hint = view.querySelector(".ds-hint");
  hint.hidden = !done || !large || tiles || model || !choices.offered("several");
  hint.textContent = text(large === 1 ? "several.small.one" : "several.small", { count: large });
}

function title(every) {
  const { count, items, times } = batch;
  const parts = [];
  if (batch.asking) {
    parts.push(text("several.done", { done: items.length, count }));
    const now = performance.now();
    const from = times.find(([at]) => now - at <= 1000 * RECENT_S) ?? times.at(-1);
    const rate = (1000 * (items.length - from[1])) / (now - from[0]);
    if (items.length && rate > 0) {
      parts.push(text("several.rate", { rate: rate < 10 ? rate.toFixed(1) : rate.toFixed(0) }));
      parts.push(text("several.left", { time: duration((count - items.length) / rate) }));
    }
  } else {
    const found = every.reduce((sum, each) => sum + each.found.length, 0);
    const failed = items.filter((item) => item.error).length;
    parts.push(text(found === 1 ? "several.sum.one" : "several.sum", { found, images: items.length }));
    if (failed) parts.push(text("several.sum.failed", { failed }));
  }
  const line = parts.join(" · "), place = batch.view.querySelector("h2");
  if (place.textContent !== line) place.textContent = line;
}

function duration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  return whole < 60 ? `${whole}\u00a0s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}\u00a0min`;
}

// The labels that were found, where there are several.
function labels() {
  const select = batch.view.querySelector('[name="label"]');
  const known = new Set([...select.options].map((option) => option.value));
  for (const item of batch.items) {
    for (const [name] of item.labels ?? []) {
      if (known.has(name)) continue;
      known.add(name);
      select.add(new Option(name, name));
    }
  }
  select.closest("label").hidden = known.size < 3; // all, and two
}

// Cards that stay are not drawn anew: neither their pictures nor the keyboard's place in them.
function keep(place, part) {
  const there = new Map([...place.children].map((card) => [card.dataset.place, card]));
  const cards = part.map(({ item, found }) => {
    const key = String(item.place);
    const card = there.get(key) ?? made(item);
    fill(card, item, found);
    return card;
  });
  const same = cards.length === place.children.length && cards.every((card, n) => place.children[n] === card);
  if (!same) place.replaceChildren(...cards);
}

function made(item) {
  const card = document.createElement("article");
  card.className = "ds-card";
  card.dataset.place = item.place;
  if (item.error) {
    const why = document.createElement("p");
    why.className = "ds-failure";
    why.textContent = item.error;
    card.append(why);
  } else {
    const link = document.createElement("a"), photo = document.createElement("div");
    link.href = `./?result=${item.job}`;
    link.dataset.open = item.place;
    photo.className = "ds-photo";
    photo.style.cssText = `width:100%;aspect-ratio:${item.width}/${item.height}`;
    const image = new Image();
    Object.assign(image, { alt: item.name, decoding: "async", loading: "lazy", src: `pages/results/${item.job}/preview` });
    // Kept no longer: then the one that is kept with the trace, for who may see that.
    image.addEventListener("error", () => {
      image.src = `api/v1/traces/${item.trace}/images/${item.job}`;
    }, { once: true });
    const boxes = document.createElement("div");
    boxes.className = "ds-boxes";
    photo.append(image, boxes);
    link.append(photo);
    card.append(link);
  }
  const foot = document.createElement("footer"), name = document.createElement("b");
  const trace = document.createElement("a"), facts = document.createElement("span");
  name.textContent = name.title = item.name;
  trace.href = item.href;
  trace.className = "ds-trace";
  trace.textContent = text("several.trace");
  facts.className = "ds-muted";
  foot.append(name, trace, facts);
  card.append(foot);
  return card;
}

function fill(card, item, found) {
  if (item.error || card.dataset.drawn === String(found.length)) return;
  card.dataset.drawn = found.length;
  const key = { 0: "found.none", 1: "found.one" }[found.length] ?? "found";
  card.querySelector("footer span").textContent =
    `${text(key, { count: found.length })} · ${milliseconds(item.ms)}`;
  card.querySelector(".ds-boxes").replaceChildren(...found.map((box) => {
    const shape = document.createElement("div"), [, , x1, y1, x2, y2] = box;
    shape.className = "ds-box";
    shape.style.cssText = `left:${(100 * x1) / item.width}%;top:${(100 * y1) / item.height}%;` +
      `width:${(100 * (x2 - x1)) / item.width}%;height:${(100 * (y2 - y1)) / item.height}%;` +
      `--hue:${item.labels[box[0]][1]}`;
    return shape;
  }));
}

function table(part) {
  const rows = part.flatMap(({ item, found }) => found.map((box) => {
    const [name, colour] = item.labels[box[0]], row = document.createElement("tr");
    const cells = [item.name, name, box[1].toFixed(3), ...box.slice(2).map((at) => at.toFixed(0))];
    row.append(...cells.map((value) => {
      const cell = document.createElement("td");
      cell.textContent = value;
      return cell;
    }));
    const mark = document.createElement("i");
    mark.style.background = colour;
    row.children[1].prepend(mark);
    return row;
  }));
  const place = batch.view.querySelector(".ds-table");
  place.hidden = !rows.length;
  place.querySelector("tbody").replaceChildren(...rows);
}

// ---- a look at one

function click(event) {
  if (!batch) return;
  const action = event.target.closest("[data-do]")?.dataset.do;
  const link = event.target.closest("[data-open]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    open(Number(link.dataset.open));
  } else if (action === "cancel") cancel();
  else if (action === "before" || action === "after") turn(action === "after" ? 1 : -1);
  else if (action === "close") host.querySelector("dialog").close();
  else if (action === "previous" || action === "next") step(action === "next" ? 1 : -1);
}

function turn(by) {
  batch.page += by;
  show();
  batch.view.scrollIntoView({ block: "start" });
}

function step(by) {
  const able = batch.listed.filter(({ item }) => item.job);
  const at = able.findIndex(({ item }) => item.place === batch.at);
  const next = able[at + by];
  if (next) open(next.item.place);
}

async function open(at) {
  const mine = batch, item = mine.items.find((each) => each.place === at);
  const dialog = mine.view.querySelector("dialog");
  mine.at = at;
  mine.open?.close();
  dialog.querySelector("h2").textContent = item.name;
  if (!dialog.open) dialog.showModal();
  const inside = dialog.lastElementChild;
  inside.classList.add("ds-busy"); // what is there is of the one before
  const still = () => batch === mine && mine.at === at && dialog.open;
  const html = await kept(`pages/results/${item.job}`, still).catch((error) => failure(error.message).outerHTML);
  if (!still()) return;
  inside.classList.remove("ds-busy");
  inside.innerHTML = html || failure(text("detect.gone")).outerHTML;
  const root = dialog.querySelector(".ds-result");
  mine.open = root && new View(root);
  look();
}

// What is open, as all are seen.
function look() {
  batch.open?.show(sliders.value("several", "score"), batch.hidden, choices.most("several"));
}

// One image: its run, its result, and the address under which the result is found again.
import * as choices from "./choices.js";
import * as files from "./files.js";
import { hear } from "./hear.js";
import { kept } from "./kept.js";
import * as mine from "./mine.js";
import * as models from "./models.js";
import { draw, empty, run, stop } from "./run.js";
import * as sliders from "./sliders.js";
import * as tabs from "./tabs.js";
import { chinese, failure, tell, text, waiting } from "./texts.js";
import { View } from "./view.js";

const TELL_MS = 100, RUN_MS = 400, NOTE_MS = 300; // how often, and after how much quiet
const ID = /^[0-9a-f]{32}$/;
const OURS = ["result", "batch", "score", "hide", "tiles", "most", "model"]; // what an address here may say

let host, initial;
let view = null;
let photo = "", photoJob = null; // what is chosen, and the job that it became last
let restoring = null, wanted = null; // what is asked for by its address; and its thresholds
let hidden = new Set();
let begun = 0, timers = {};

export function start(element, given) {
  [host, initial] = [element, given.props.value];
  mine.start();
  files.start();
  tabs.start();
  tell(document.documentElement.service);
  hear("ds-thresholds", () => {
    if (wanted) return aim(wanted);
    show(); // what came before them follows them
    again();
  });
  addEventListener("popstate", restore);
  host.addEventListener("ds-labels", (event) => {
    hidden = event.detail;
    show();
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-result]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(new URLSearchParams({ result: link.dataset.result }));
    restore();
  });
  sliders.watch("one", "score", () => {
    wanted = null;
    show();
    again();
  });
  sliders.watch("one", "iou", () => {
    wanted = null;
    again();
  });
  choices.watch("one", { boxes: show, cut: again });
  models.watch("one", again);
  host.addEventListener("click", (event) => {
    if (!event.target.closest("[data-look]")) return;
    choices.choose("one", "auto");
    detect();
  });
  restore({ type: "load" });
  hear("ds-photo", chosen);
  hear("ds-detect", (tab) => { if (tab === "one") detect(); });
}

// ---- a run

function chosen(id) {
  if (id === photo && id) return;
  [photo, photoJob] = [id, null];
  if (id) return detect();
  stop("one");
  busy(false);
  place(initial);
}

async function detect() {
  restoring = null;
  if (!photo) return place(empty("first", "empty.one.hint"));
  busy(true);
  await sliders.ready; // at the model's own thresholds
  document.dispatchEvent(new CustomEvent("ds-look"));
  if (matchMedia("(max-width: 767px)").matches) host.scrollIntoView({ block: "start" });
  try {
    const html = await run("one", photo);
    if (html === null) return;
    place(html);
  } catch (error) {
    place(failure(error.message).outerHTML);
  }
}

function busy(on) {
  clearInterval(timers.busy);
  timers.busy = null;
  host.classList.toggle("ds-busy", on);
  host.setAttribute("aria-busy", on);
  if (!on) return waiting("");
  begun = performance.now();
  const line = text("detect.waiting");
  const said = () => waiting(line, `${((performance.now() - begun) / 1000).toFixed(1)}\u00a0s`);
  said();
  timers.busy = setInterval(said, TELL_MS);
}

// Another IoU threshold takes a run of its own, as do another model, other tiles and a very low score; until it is
// there, what is seen is said to be old.
function again() {
  clearTimeout(timers.again);
  if (judge() && mayRun()) timers.again = setTimeout(detect, RUN_MS);
}

function mayRun() {
  return Boolean(photo) && photoJob === view.shown.job;
}

// Whether a result is of another model than the one that is chosen.
function byAnother({ shown }) {
  return shown.model !== null && shown.model !== models.chosen("one");
}

// Whether the sliders ask for what this result has not.
function judge() {
  if (!view) return false;
  const { iou, lowest, cut } = view.shown;
  const other = iou !== null && Math.abs(iou - (wanted?.iou ?? sliders.value("one", "iou"))) > 1e-6;
  const tiles = choices.offered("one") && view.shown.tiles !== choices.tiles("one");
  const model = byAnother(view);
  const lower = iou !== null && !cut && view.score < lowest - 1e-6;
  const may = mayRun();
  let line = "";
  if (model) line = text(may ? "detect.outdated.model" : "detect.outdated.model.no_image");
  else if (other) line = text(may ? "detect.outdated" : "detect.outdated.no_image", { iou: iou.toFixed(2) });
  else if (tiles) line = text(may ? "detect.outdated.tiles" : "detect.outdated.tiles.no_image");
  else if (lower) line = text("detect.outdated.score", { lowest: lowest.toFixed(2) });
  view.outdated(line);
  const small = view.shown.large && choices.offered("one") && !tiles && !model;
  view.hint(small ? text(may ? "tiles.hint" : "tiles.hint.no_image") : "", may);
  return other || tiles || model || lower;
}

// ---- what is seen

// What was put in place is on the page now.
function changed() {
  busy(false);
  const root = host.querySelector(".ds-result"), by = restoring;
  restoring = null;
  view?.close();
  view = root && new View(root);
  if (!view) {
    if (!by && address().has("result")) history.pushState(null, "", written(new URLSearchParams()));
    return;
  }
  const { job, trace, name } = view.shown;
  if (by === job) {
    const asked = new URLSearchParams(location.search);
    const { score, iou, tiles } = view.shown;
    view.shown.model ??= asked.get("model"); // where the service knows no more what was asked for
    models.choose("one", view.shown.model ?? "");
    hidden = new Set(asked.getAll("hide"));
    choices.choose("one", tiles);
    choices.limit("one", asked.get("most") ?? choices.allowed("one"));
    aim({
      score: Number(asked.get("score") ?? score ?? sliders.value("one", "score")),
      iou: iou ?? sliders.value("one", "iou"),
    });
    show();
    return;
  }
  photoJob = job;
  const found = show();
  mine.add([{ job, trace, name, at: Date.now(), found }]);
  go(view.query());
  again(); // it may have been moved meanwhile
}

// Put the sliders where a link wants them; again, should the page set them to the model's own.
function aim(thresholds) {
  for (const [which, number] of Object.entries(thresholds)) {
    if (number >= 0.01 && number <= 0.99) sliders.put("one", which, number);
    else delete thresholds[which];
  }
  wanted = document.told?.["ds-thresholds"] ? null : thresholds; // what has moved them forgets it
}

function show() {
  if (!view) return 0;
  const found = view.show(wanted?.score ?? sliders.value("one", "score"), hidden, choices.most("one"));
  judge();
  clearTimeout(timers.note);
  const seen = view;
  timers.note = setTimeout(() => {
    if (view !== seen || address().get("result") !== seen.shown.job) return;
    if (!byAnother(seen)) note(seen.query()); // or else the thresholds are that one's
  }, NOTE_MS);
  return found;
}

function place(html) {
  draw(host, html);
  changed();
}

// ---- addresses

function address() {
  return new URLSearchParams(location.search);
}

function written(query) {
  const next = address();
  for (const name of OURS) next.delete(name);
  for (const [name, value] of query) next.append(name, value);
  const asked = next.toString();
  return location.pathname + (asked ? `?${asked}` : "");
}

function go(query) {
  if (address().get("result") === query.get("result")) note(query);
  else history.pushState(null, "", written(query));
}

function note(query) {
  history.replaceState(null, "", written(query));
}

// What the address names, after Back, a reload, or by a link.
async function restore({ type } = {}) {
  const job = address().get("result");
  const several = address().has("batch"); // which its own tab shows
  const tabs = [...document.querySelectorAll('.ds-tabs [role="tab"]')];
  // Who chose another tab before this was loaded stays there: the camera may be on.
  const chose = type === "load" && tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true") > 0;
  if ((several || job) && !chose) tabs[Number(several)]?.click();
  if (several || (view && job === view.shown.job)) return;
  restoring = job;
  if (!job) {
    if (view) place(initial);
    return;
  }
  if (!ID.test(job)) return place(gone(job));
  busy(true);
  try {
    const html = await kept(`pages/results/${job}`, () => restoring === job);
    if (html !== null) place(html || gone(job));
  } catch (error) {
    place(failure(error.message).outerHTML);
  }
}

function gone(job) {
  const known = mine.all().find((image) => image.job === job);
  const way = known?.trace && [`traces?trace=${known.trace}`, text("detect.gone.trace")];
  const line = failure([text("detect.gone"), text("detect.gone.hint")].join(chinese() ? "" : " "), way || null);
  return line.outerHTML;
}

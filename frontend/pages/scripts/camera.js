// The camera: its picture with the boxes over it, stills, and what is told of the frames.
import { take } from "./files.js";
import { Figures, Live } from "./live.js";
import * as models from "./models.js";
import * as sliders from "./sliders.js";
import { milliseconds, text } from "./texts.js";

const LABEL = 20; // height of a label over its box, in pixels
const TALLEST_VH = 68, QUALITY = 0.85, STILL_QUALITY = 0.95;
const ROWS = 8, DRAWN_MS = 250, FRAME_MS = 1000; // frames listed; how often; longest wait for one
const LEFT_MS = 250; // how long it may not be seen while a page is laid out anew
const ID = /^[0-9a-f]{32}$/;
// As getUserMedia names them.
const WHY = { NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "none", OverconstrainedError: "none" };

const canvas = document.createElement("canvas"); // one for all frames: browsers run out of room for many
let host, video, palette;
let stream = null, live = null, figures = null, last = null;
let opening = 0, drawing = null, looking = null, rows = [];

export function start(element) {
  const first = !host, was = host?.dataset.state;
  if (!first) stop(); // the tab is drawn anew: what it had before is not seen any more
  host = element.querySelector(".ds-camera");
  video = host.querySelector("video");
  palette = JSON.parse(host.dataset.colours);
  host.addEventListener("click", (event) => {
    const act = event.target.closest("[data-do]")?.dataset.do;
    if (act) ({ open, live: goLive, stop, still })[act]();
  });
  field("camera").addEventListener("change", () => again());
  field("mirror").addEventListener("change", mirror);
  const form = host.querySelector("form");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.inert = false; // until now nobody listened
  for (const name of ["loadedmetadata", "resize"]) video.addEventListener(name, place);
  // Browsers pause what is moved to another place, and do not go on by themselves.
  video.addEventListener("pause", () => { if (stream) video.play().catch(() => null); });
  new ResizeObserver(look).observe(host);
  if (first) once();
  else if (was === "open") open();
  else if (was === "live") goLive();
}

// What stays when the tab is drawn anew.
function once() {
  sliders.watch("camera", "score", draw);
  models.watch("camera", () => {}); // the next frame asks for it
  navigator.mediaDevices?.addEventListener?.("devicechange", () => { if (stream) list(); });
  addEventListener("pagehide", leave);
}

// No camera goes on where one does not see it: another tab was opened. For a moment a page that is laid
// out anew has no room for it, either.
function look() {
  clearTimeout(looking);
  if (!host.offsetWidth) looking = setTimeout(() => { if (!host.offsetWidth) leave(); }, LEFT_MS);
}

function leave() {
  const was = stream;
  stop();
  if (was) note(text("camera.left"));
}

const find = (selector) => host.querySelector(selector);
const field = (name) => find(`[name="${name}"]`);

// ---- the device

async function open() {
  const mine = ++opening;
  release();
  fail("");
  if (!navigator.mediaDevices?.getUserMedia) return fail(text("camera.insecure"));
  note(text("camera.opening"));
  const chosen = field("camera").value;
  const which = chosen ? { deviceId: { exact: chosen } } : { facingMode: { ideal: "environment" } };
  const wanted = { ...which, width: { ideal: 1280 }, height: { ideal: 960 } };
  let given = null;
  try {
    given = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  } catch (error) {
    if (mine !== opening) return;
    note("");
    if (chosen && error.name === "OverconstrainedError") field("camera").value = ""; // it is gone
    return fail(text(`camera.${WHY[error.name] ?? "busy"}`));
  }
  if (mine !== opening) return given.getTracks().forEach((track) => track.stop());
  stream = given;
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => {
    if (stream !== given) return;
    stop();
    fail(text("camera.unplugged"));
  });
  if (!chosen) field("mirror").checked = track.getSettings().facingMode === "user";
  mirror();
  video.srcObject = stream;
  await video.play().catch(() => null); // stopped meanwhile
  if (mine !== opening) return;
  note("");
  show();
  await list();
}

// With another camera; live, if it was so.
async function again() {
  const was = Boolean(live);
  if (!stream) return;
  await open();
  if (was && stream && !live) goLive();
}

async function list() {
  const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  const cameras = all.filter((device) => device.kind === "videoinput" && device.deviceId);
  const used = stream?.getVideoTracks()[0]?.getSettings().deviceId;
  const choice = field("camera");
  choice.replaceChildren(...cameras.map((device, index) => {
    const name = device.label || text("camera.unnamed", { number: index + 1 });
    return new Option(name, device.deviceId, false, device.deviceId === used);
  }));
  choice.parentElement.hidden = cameras.length < 2;
}

function release() {
  live?.stop();
  live = null;
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  video.srcObject = null;
}

function stop() {
  opening += 1;
  release();
  note("");
  last = null;
  draw();
  show();
  tell(true);
}

function place() {
  const { videoWidth: width, videoHeight: height } = video;
  if (!width) return;
  find(".ds-photo").style.cssText =
    `aspect-ratio:${width}/${height};width:min(100%, ${(TALLEST_VH * width) / height}vh)`;
}

function mirror() {
  video.classList.toggle("mirrored", field("mirror").checked);
  draw();
}

// ---- frames

async function goLive() {
  if (live) return;
  if (!stream) await open();
  await sliders.ready; // at the model's own thresholds
  if (!stream || live) return;
  fail("");
  [figures, rows, last] = [new Figures(), [], null];
  const mine = new Live(next, query, {
    answered(frame, result, ms) {
      figures.add(ms, performance.now());
      last = { frame, found: result.detections };
      row({ found: () => shown(result.detections).length, ms, own: result.timings_ms.total, trace: result.trace_id });
      draw();
    },
    missed(status, trace, ms) {
      figures.errors += 1;
      row({ found: () => status || "–", ms, own: null, trace, missed: true });
    },
    note(key, values) {
      note(key && text(key, values));
      tell(true); // frames a second are none by now
    },
    ended(key, values) {
      stop();
      fail(text(key, values));
    },
  });
  live = mine;
  show();
  tell(true);
  try {
    await mine.run();
  } catch (error) {
    if (live === mine) {
      stop();
      fail(text("camera.broken"));
    }
    throw error;
  }
}

function query() {
  const model = models.chosen("camera");
  return {
    ...(model && { model }),
    score_threshold: sliders.value("camera", "score"),
    iou_threshold: sliders.value("camera", "iou"),
  };
}

// The camera's next frame as a JPEG; null where none comes, so that none is sent twice.
async function next(signal) {
  if (!await fresh(signal)) return null;
  return picture(Number(field("size").value), QUALITY);
}

function fresh(signal) {
  return new Promise((done) => {
    const end = (came) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", never);
      done(came && video.videoWidth > 0);
    };
    const never = () => end(false), timer = setTimeout(never, FRAME_MS);
    signal.addEventListener("abort", never);
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => end(true));
    else requestAnimationFrame(() => end(true));
  });
}

async function picture(longest, quality) {
  const { videoWidth, videoHeight } = video;
  const scale = Math.min(1, longest / Math.max(videoWidth, videoHeight));
  const width = canvas.width = Math.max(1, Math.round(videoWidth * scale));
  const height = canvas.height = Math.max(1, Math.round(videoHeight * scale));
  const pen = canvas.getContext("2d");
  if (!pen) return null; // no memory for it at present
  pen.drawImage(video, 0, 0, width, height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", quality));
  return blob && { blob, width, height };
}

// A still in the camera's full size goes the way of any photograph.
async function still() {
  const taken = video.videoWidth ? await picture(Infinity, STILL_QUALITY) : null;
  if (!taken) return;
  const moment = new Date(Date.now() - 60_000 * new Date().getTimezoneOffset());
  const name = `camera-${moment.toISOString().slice(0, 19).replaceAll(":", "-")}.jpg`;
  stop();
  models.ask("one", models.chosen("camera"));
  take([new File([taken.blob], name, { type: "image/jpeg" })]);
}

// ---- what is seen

function show() {
  host.dataset.state = live ? "live" : stream ? "open" : "off";
  find(".ds-photo").hidden = !stream;
  find(".ds-empty").hidden = Boolean(stream);
  find('[data-do="open"]').hidden = Boolean(stream);
  find('[data-do="live"]').hidden = Boolean(live);
  for (const name of ["stop", "still"]) find(`[data-do="${name}"]`).hidden = !stream;
}

function shown(found) {
  const score = sliders.value("camera", "score");
  return found.filter((each) => each.score >= score);
}

function draw() {
  const layer = find(".ds-boxes"), found = last ? shown(last.found) : [];
  const key = { 0: "found.none", 1: "found.one" }[found.length] ?? "found";
  find("h2").textContent = last ? text(key, { count: found.length }) : "";
  const mirrored = field("mirror").checked, { width, height } = last?.frame ?? {};
  layer.replaceChildren(...found.map(({ label, score, box }, index) => {
    const shape = document.createElement("div"), tag = document.createElement("em");
    const left = mirrored ? width - box.x2 : box.x1;
    shape.className = "ds-box";
    shape.classList.toggle("inside", (box.y1 / height) * layer.clientHeight < LABEL);
    shape.classList.toggle("right", left > 0.7 * width);
    shape.style.cssText = `left:${(100 * left) / width}%;top:${(100 * box.y1) / height}%;` +
      `width:${(100 * (box.x2 - box.x1)) / width}%;height:${(100 * (box.y2 - box.y1)) / height}%;` +
      `--hue:${colour(label)};z-index:${found.length - index}`;
    tag.textContent = `${label} ${score.toFixed(2)}`;
    shape.append(tag);
    return shape;
  }));
}

// As pipeline/draw.py has it.
function colour(label) {
  return palette[new TextEncoder().encode(label).reduce((sum, byte) => sum + byte, 0) % palette.length];
}

function row(frame) {
  rows.unshift({ at: new Date(), ...frame });
  rows.length = Math.min(rows.length, ROWS);
  tell(false);
}

// Figures and list, some times a second: more could not be read.
function tell(now) {
  if (drawing && !now) return;
  clearTimeout(drawing);
  drawing = now ? null : setTimeout(() => { drawing = null; tell(true); }, DRAWN_MS);
  if (!now || !figures) return;
  find(".ds-live").hidden = find(".ds-frames").hidden = false;
  const rate = live ? figures.rate(performance.now()) : null;
  const ms = (value) => (value === null ? "–" : milliseconds(value));
  const told = {
    rate: rate === null ? "–" : rate.toFixed(1), latency: ms(figures.latency),
    p50: ms(figures.quantile(0.5)), p95: ms(figures.quantile(0.95)),
    frames: figures.frames, errors: figures.errors,
  };
  for (const [name, value] of Object.entries(told)) find(`[data-figure="${name}"]`).textContent = value;
  const table = find(".ds-frames .ds-table");
  if (live && table.matches(":hover, :focus-within")) return; // a link stays under the pointer
  table.querySelector("tbody").replaceChildren(...rows.map(listed));
}

function listed({ at, found, ms, own, trace, missed }) {
  const line = document.createElement("tr");
  const time = at.toLocaleTimeString(document.documentElement.lang, { hourCycle: "h23" });
  const cells = [time, found(), milliseconds(ms), own === null ? "–" : milliseconds(own), ""];
  line.append(...cells.map((value) => {
    const cell = document.createElement("td");
    cell.textContent = value;
    return cell;
  }));
  line.classList.toggle("ds-missed", Boolean(missed));
  if (ID.test(trace ?? "")) {
    const link = document.createElement("a");
    Object.assign(link, { href: `traces?trace=${trace}`, className: "ds-trace", target: "_blank" });
    link.textContent = trace.slice(0, 8);
    link.title = trace;
    line.lastChild.append(link);
  }
  return line;
}

function note(line) {
  const place = find(".ds-outdated");
  place.hidden = !line;
  if (line && place.textContent !== line) place.textContent = line;
}

function fail(line) {
  const place = find(".ds-error");
  place.hidden = !line;
  if (place.firstChild.textContent !== line) place.firstChild.textContent = line;
}

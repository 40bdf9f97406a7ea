// The images that this browser has sent: their ids alone, for finding the results again.
import { text } from "./texts.js";

const NAME = "damoscope.images", MOST = 100;
const host = () => document.querySelector(".ds-mine");

export function all() {
  try {
    const found = JSON.parse(localStorage.getItem(NAME) ?? "[]");
    return Array.isArray(found) ? found.filter((each) => /^[0-9a-f]{32}$/.test(each?.job)) : [];
  } catch {
    return []; // damaged, or the browser keeps nothing
  }
}

export function add(images) {
  const jobs = new Set(images.map((image) => image.job));
  const others = all().filter((image) => !jobs.has(image.job));
  keep([...images, ...others].slice(0, MOST));
}

function keep(images) {
  try {
    if (images.length) localStorage.setItem(NAME, JSON.stringify(images));
    else localStorage.removeItem(NAME);
  } catch {
    // The browser keeps nothing, or has no room: then there is no list.
  }
  show();
}

export function show() {
  const place = host(), images = all();
  if (!place) return;
  place.hidden = !images.length;
  place.querySelector("summary span:last-child").textContent = images.length;
  const times = new Intl.DateTimeFormat(navigator.language, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
  });
  place.querySelector("ol").replaceChildren(...images.map((image) => {
    const row = document.createElement("li"), link = document.createElement("a");
    const facts = document.createElement("span");
    link.href = `./?result=${image.job}`;
    link.textContent = image.name || image.job.slice(0, 8);
    link.dataset.result = image.job;
    facts.textContent = [
      times.format(new Date(image.at)), text("detect.mine.found", { count: Number(image.found) }),
    ].join(" · ");
    row.append(link, facts);
    if (/^[0-9a-f]{32}$/.test(image.trace)) {
      const trace = document.createElement("a");
      trace.href = `traces?trace=${image.trace}`;
      trace.textContent = text("several.trace");
      facts.append(" · ", trace);
    }
    return row;
  }));
}

export function start() {
  show();
  addEventListener("storage", (event) => { if (event.key === NAME) show(); });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.(".ds-mine button")) keep([]);
  });
  // Who logs out leaves nothing for the next one.
  document.addEventListener("submit", (event) => {
    if (event.target.matches(".ds-who")) keep([]);
  });
}

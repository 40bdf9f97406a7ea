// What every part of the Monitor page needs: texts, numbers and times as the browser has them,
// questions to the API, and painting that disturbs nobody.
const zh = document.documentElement.dataset.lang === "zh";
const locale = navigator.language;
let texts = {};

export function learn(tables) {
  texts = tables[zh ? "zh" : "en"];
}

/** A text of the page, with what stands in braces filled in. */
export function text(name, values = {}) {
  const known = texts[`monitor.${name}`] ?? texts[name] ?? name;
  return known.replace(/\{(\w+)\}/g, (whole, key) => values[key] ?? whole);
}

/** Of a message in both languages, the one of this page, whose units stay with their figures. */
export const message = (both) => ((zh ? both.zh : both.en) || both.en)
  .replace(/(\d) (?=(?:ms|s|min|h|d|%)(?![\w]))/g, "$1\u00a0");
export const known = (name) => name in texts;

export function escape(value) {
  return String(value).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

// -- numbers ---------------------------------------------------------------------------------
const formats = new Map();

export function number(value, digits = 0, least = 0) {
  const key = `${digits}/${least}`;
  if (!formats.has(key)) {
    formats.set(key, new Intl.NumberFormat(locale, {
      maximumFractionDigits: digits, minimumFractionDigits: least,
    }));
  }
  return formats.get(key).format(value);
}

const small = new Intl.NumberFormat(locale, { maximumSignificantDigits: 2 });
/** Three figures or so: 0.0042, 8.35, 74.2, 1,250. */
export const short = (value) => (Math.abs(value) < 1 ? small.format(value)
  : number(value, value < 10 ? 2 : value < 100 ? 1 : 0));
export const percent = (share) => `${number(100 * share, Math.abs(share) >= 0.9995 || share === 0 ? 0 : 1)}\u00a0%`;

/** As the other pages write durations: 0.42 ms, 8.3 ms, 74 ms, 1.25 s; from a minute on as below. */
export function milliseconds(value) {
  if (value >= 60_000) return seconds(value / 1000);
  if (value >= 1000) return `${number(value / 1000, 2, value % 1000 ? 2 : 0)}\u00a0s`;
  return `${number(value, value === 0 ? 0 : value < 1 ? 2 : value < 10 ? 1 : 0)}\u00a0ms`;
}

/** 0.5 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function seconds(value) {
  if (value < 60) return `${number(value, value < 10 ? 2 : value < 60 ? 1 : 0)}\u00a0s`;
  const whole = Math.round(value);
  const parts = [[86400, "d", "天"], [3600, "h", "小时"], [60, "min", "分钟"], [1, "s", "秒"]];
  const first = parts.findIndex(([size]) => whole >= size);
  return parts.slice(first, first + 2).reduce((said, [size, en, cn], place) => {
    const count = place ? Math.floor((whole % parts[first][0]) / size) : Math.floor(whole / size);
    return count ? [...said, `${count}\u00a0${zh ? cn : en}`] : said;
  }, []).join(" ");
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const place = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), units.length - 1);
  return `${number(value / 1024 ** place, place ? 1 : 0)}\u00a0${units[place]}`;
}

/** A number with the unit that the API names. */
export function measured(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "ms") return milliseconds(value);
  if (unit === "s") return value && value < 1 ? milliseconds(1000 * value) : seconds(value);
  if (unit === "ratio") return percent(value);
  if (unit === "1/s") return `${short(value)}\u00a0/s`;
  return unit ? `${short(value)}\u00a0${unit}` : short(value);
}

// -- times: the browser's zone ---------------------------------------------------------------
const clock = new Intl.DateTimeFormat(locale, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const dated = new Intl.DateTimeFormat(locale, {
  month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  hourCycle: "h23",
});

/** The clock time; with its date when it is not today's. */
export function moment(unixSeconds) {
  const at = new Date(unixSeconds * 1000);
  return (at.toDateString() === new Date().toDateString() ? clock : dated).format(at);
}

export function time(unixSeconds) {
  const at = new Date(unixSeconds * 1000);
  return `<time datetime="${at.toISOString()}" title="${escape(at.toLocaleString())}">`
    + `${escape(moment(unixSeconds))}</time>`;
}

// -- asking ----------------------------------------------------------------------------------
/** A question that was not answered: `status` is 0 when nothing answered at all. */
export class Unanswered extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const ANSWER_MS = 60_000; // A service that stands still holds its connections, and answers nothing.

export async function ask(path, { signal, ...options } = {}) {
  const limit = AbortSignal.timeout(ANSWER_MS);
  let answer;
  try {
    answer = await fetch(path, {
      cache: "no-store", ...options, signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
  } catch (error) {
    throw new Unanswered(0, String(error.message));
  }
  const body = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Unanswered(answer.status, body?.detail ?? `HTTP ${answer.status}`);
  return body;
}

export const send = (method, path, body) => ask(path, {
  method, headers: { "content-type": "application/json" }, body: JSON.stringify(body ?? {}),
});

// -- painting --------------------------------------------------------------------------------
/** Replace what an element holds, if it differs, and keep what is unfolded and who has focus. */
export function paint(root, html) {
  if (root.painted === html) return;
  root.painted = html;
  document.documentElement.whenLetGo(root, () => replace(root, html));
}

function replace(root, html) {
  const unfolded = [...root.querySelectorAll("details[open]")].map((d) => d.dataset.name);
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  root.innerHTML = html;
  root.querySelectorAll("details").forEach((d) => { d.open = unfolded.includes(d.dataset.name); });
  if (focused) root.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

// The time that the page shows: the last seconds up to now, or from one moment to another.
const LEAST_S = 10, MOST_S = 30 * 86400;

/** What an address asks for: seconds `from` and `to` are null where it is up to now. */
export function rangeOf(address, offered, otherwise) {
  const window = Number(offered.includes(address.get("window")) ? address.get("window") : otherwise);
  const [from, to] = ["from", "to"].map((name) => seconds(address.get(name)));
  const now = Date.now() / 1000;
  if (from === null || from >= now) return { window, from: null, to: null, over: false, key: String(window) };
  const end = to !== null && to > from ? Math.max(to, from + LEAST_S) : null;
  const begin = Math.max(from, (end ?? now) - MOST_S);
  return {
    window, from: begin, to: end, over: end !== null && end < now, key: `${begin}/${end}`,
  };
}

/** Its length in seconds. */
export const length = (range) =>
  (range.from === null ? range.window : (range.to ?? Date.now() / 1000) - range.from);

/** The same as parameters of a question, or of the Traces page's address. */
export function parameters(range) {
  if (range.from === null) return `window=${range.window}`;
  const to = range.to === null ? "" : `&to=${encodeURIComponent(iso(range.to))}`;
  return `from=${encodeURIComponent(iso(range.from))}${to}`;
}

/** Seconds since 1970 as ISO 8601, in UTC. */
export const iso = (at) => new Date(at * 1000).toISOString();

/** What `<input type="datetime-local">` takes, and what it gives. */
export function local(at) {
  const date = new Date(at * 1000);
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export const seconds = (text) => {
  if (!text) return null;
  const at = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Date.parse(text) / 1000;
  return Number.isFinite(at) && at >= 0 ? at : null;
};

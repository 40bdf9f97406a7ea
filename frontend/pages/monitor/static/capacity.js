// What the workers hold, as a sentence and in figures.
import { escape, milliseconds, number, paint, percent, short, text } from "./page.js";

export function capacity(page, given) {
  const panel = page.querySelector(".ds-capacity");
  panel.dataset.verdict = given.verdict;
  panel.querySelector(".ds-verdict").textContent = verdict(given);
  const rate = (value) => (value === null ? "–" : text("rate", { value: short(value) }));
  const held = given.per_worker_per_s === null || given.workers === null
    ? null : given.per_worker_per_s * given.workers;
  const count = (value) => (value === null ? "–" : number(value));
  const rows = {
    arriving: rate(given.arriving_per_s),
    peak: given.peak_at === null ? "–" : rate(given.arriving_peak_per_s),
    held: rate(held),
    each: rate(given.per_worker_per_s),
    busy: given.busy_s_per_image === null ? "–" : milliseconds(1000 * given.busy_s_per_image),
    utilisation: given.utilisation === null ? "–" : percent(given.utilisation),
    workers: count(given.workers),
    needed: count(given.workers_needed),
  };
  paint(panel.querySelector("dl"), Object.entries(rows).map(([name, value]) =>
    `<div data-row="${name}"><dt>${escape(text(`capacity.${name}`))}</dt><dd>${escape(value)}</dd></div>`).join(""));
}

function verdict({ verdict: name, workers, workers_needed: needed }) {
  if (name === "grows" && workers === 0) return text("verdict.grows.none");
  if (!["tight", "grows"].includes(name) || needed === null) return text(`verdict.${name}`);
  if (needed <= workers) return text(name === "grows" ? "verdict.grows.enough" : "verdict.tight");
  return text(`verdict.${name}.needed`, {
    needed: needed === 1 ? text("workers.one") : text("workers", { count: number(needed) }),
  });
}

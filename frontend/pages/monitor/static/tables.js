// The slowest and the last failed images, each a click from its trace; and what an empty system
// says of itself.
import { escape, known, milliseconds, paint, text, time } from "./page.js";

export function extremes(page) {
  const rows = (name) => page.querySelector(`[data-table="${name}"] .ds-rows`);
  return {
    draw: (name, found) => paint(rows(name), table(name, found)),
    unreadable: (name, error) => paint(rows(name),
      `<p class="ds-error">${escape(text("traces.unreadable", { reason: error.message }))}</p>`),
  };
}

function table(name, found) {
  if (!found.length) return `<p class="ds-none">${escape(text(`${name}.none`))}</p>`;
  const longest = Math.max(...found.map((item) => item.duration_ms)) || 1;
  const last = name === "slowest" ? text("traces.stages") : text("cause");
  const head = [text("time"), text("traces.outcome"), text("duration"), last]
    .map((title) => `<th>${escape(title)}</th>`).join("");
  const body = found.map((item) => row(name, item, longest)).join("");
  return `<div class="ds-table" tabindex="0"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

function row(name, item, longest) {
  const link = `traces?trace=${encodeURIComponent(item.trace_id)}`;
  const why = item.error_message || item.error_type || "";
  const kind = `cause.${item.error_type}`; // the service words errors in English
  const last = name === "slowest"
    ? `<div style="width:${((100 * item.duration_ms) / longest).toFixed(1)}%">${bar(item.stages_ms)}</div>`
    : `<span class="ds-cause" title="${escape(why)}">${escape(known(kind) ? text(kind) : why || "–")}</span>`;
  return `<tr data-trace="${escape(item.trace_id)}"><td><a href="${link}" data-key="${item.trace_id}">`
    + `${time(item.start_unix_ns / 1e9)}</a></td>`
    + `<td><span class="ds-chip ${item.status === "error" ? "bad" : "good"}">`
    + `${escape(text(`outcome.${item.outcome}`))}</span></td>`
    + `<td>${escape(milliseconds(item.duration_ms))}</td><td>${last}</td></tr>`;
}

function bar(stages) {
  const parts = Object.keys(stages).filter((stage) => stages[stage] > 0).map((stage) =>
    `<i class="stage-${stage}" style="flex-grow:${stages[stage].toFixed(4)}" `
    + `title="${escape(text(`stage.${stage}`))}: ${escape(milliseconds(stages[stage]))}"></i>`);
  return `<div class="ds-bar">${parts.join("")}</div>`;
}

/** A click anywhere in a row opens its trace. */
export function follow(page) {
  page.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-trace]");
    if (row && !event.target.closest("a")) row.querySelector("a").click();
  });
}

/** What an empty system says: `never` had an image, `quiet` in this window, or "" for neither. */
export function never(page, which) {
  const panel = page.querySelector(".ds-never");
  panel.hidden = !which;
  page.dataset.never = Number(which === "never");
  if (which === "quiet") paint(panel, `<p class="ds-quiet">${escape(text("quiet"))}</p>`);
  if (which !== "never") return;
  const [before, after] = text("never.hint").split("{page}").map(escape);
  const address = new URL("api/v1/detect", document.baseURI).href;
  paint(panel, `<div class="ds-empty"><p>${escape(text("never"))}</p><p class="ds-muted">${before}`
    + `<a href="./">${escape(text("nav.detect"))}</a>${after}</p>`
    + `<pre tabindex="0">curl -F image=@photo.jpg ${escape(address)}</pre></div>`);
}

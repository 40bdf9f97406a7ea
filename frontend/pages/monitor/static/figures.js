// From the answer of GET /api/v1/stats/series to what plotly.js draws: data and layout by plot.
import { marked } from "./marks.js";
import { milliseconds, number, percent, short, text } from "./page.js";

// Colours of the page by what they stand for; the server says which there are, in order.
const STAGES = { upload: "upload", queue_wait: "queue", preprocess: "preprocess", inference: "inference", nms: "nms" };
const OUTCOMES = {
  ok: "good", invalid: "upload", rejected: "queue", failed: "bad", timeout: "worker", cancelled: "muted",
};
const PERCENTILES = { p50: "inference", p95: "queue", p99: "nms" };
const QUEUES = { high: "nms", normal: "queue", low: "upload" };

/** Every plot by its name; `colours` are the page's, `marks` what happened meanwhile. */
export function figures(series, colours, marks) {
  const at = times(series);
  const width = series.step_s * 1000;
  const draw = { at, width, colours, series };
  const drawn = {
    qps: qps(draw), latency: latency(draw), stages: stages(draw), heatmap: heatmap(draw),
    queue: queue(draw), batch: batch(draw), utilisation: utilisation(draw),
  };
  for (const plot of Object.values(drawn)) plot.layout = marked(plot.layout, marks, colours);
  return drawn;
}

/** Seconds from an image's end until it is counted, at most: exported every five, read as often. */
const COUNTED_WITHIN_S = 10;

/**
 * Which images a click is about: of which moment, and, in the heat map, of which duration. They are
 * listed by when they began, and counted after they ended: those are meant that did in this step.
 */
export function clicked(name, series, { points: [point] }) {
  if (!point) return null;
  const at = Array.isArray(point.pointNumber) ? point.pointNumber.at(-1) : point.pointNumber;
  if (!(at >= 0 && at < series.count)) return null;
  const start = series.start_s + at * series.step_s;
  const asked = { from: start - COUNTED_WITHIN_S - longest(series, at), to: start + series.step_s };
  if (name === "heatmap") {
    const { bounds_ms: bounds } = series.heatmap;
    const high = bounds.findIndex((bound) => bound >= point.y * 0.999);
    const row = high < 0 ? bounds.length : high;
    if (row > 0) asked.min_duration_ms = bounds[row - 1];
    if (row < bounds.length) asked.max_duration_ms = bounds[row];
  }
  if (["latency", "stages", "heatmap"].includes(name)) asked.order = "slowest";
  return asked;
}

/** Seconds that the images of a step took at most, as far as is known: those answered, those waiting. */
function longest({ heatmap: { bounds_ms: bounds, counts }, queue_oldest_age_s: waited }, at) {
  const slowest = (counts[at] ?? []).findLastIndex(Boolean);
  const took = slowest < 0 ? 0 : bounds[Math.min(slowest, bounds.length - 1)] / 1000;
  return Math.max(took, waited[at] ?? 0);
}

// -- the plots -------------------------------------------------------------------------------
function qps(draw) {
  const found = Object.keys(OUTCOMES).filter((name) => some(draw.series.requests_per_s[name], true));
  const others = Object.keys(draw.series.requests_per_s).filter((name) => !(name in OUTCOMES));
  const data = [...found, ...others].map((name) => bars(draw, {
    name: text(`outcome.${name}`), values: draw.series.requests_per_s[name],
    colour: draw.colours[OUTCOMES[name] ?? "muted"], write: (value) => `${short(value)}\u00a0/s`,
  }));
  const made = layout(draw, { stacked: true, empty: !data.length });
  return { data, layout: { ...made, showlegend: true } }; // one outcome alone is named, too
}

function latency(draw) {
  const data = Object.entries(PERCENTILES).map(([name, colour]) => line(draw, {
    name, values: draw.series.latency_ms[name], colour: draw.colours[colour], write: milliseconds,
  }));
  return { data, layout: layout(draw, { suffix: inUnit(data), empty: !measuredIn(data) }) };
}

function stages(draw) {
  const data = Object.entries(draw.series.stages_ms).filter(([, values]) => some(values)).map(
    ([name, values]) => bars(draw, {
      name: text(`stage.${name}`), values, colour: draw.colours[STAGES[name] ?? "muted"],
      write: milliseconds,
    }),
  );
  return { data, layout: layout(draw, { stacked: true, suffix: inUnit(data), empty: !data.length }) };
}

/** Turns milliseconds into seconds where they are many, and says which of the two it is. */
function inUnit(data) {
  const most = Math.max(0, ...data.flatMap((plot) => plot.y));
  if (most < 2000) return " ms";
  for (const plot of data) plot.y = plot.y.map((value) => (value === null ? null : value / 1000));
  return " s";
}

function heatmap(draw) {
  const { bounds_ms: bounds, counts } = draw.series.heatmap;
  const rows = bounds.length + 1;
  const sums = Array.from({ length: rows }, (_, row) => counts.reduce((sum, step) => sum + step[row], 0));
  const used = sums.flatMap((sum, row) => (sum ? [row] : []));
  const empty = !used.length;
  const first = empty ? 0 : Math.max(used[0] - 1, 0);
  const last = empty ? 0 : Math.min(used.at(-1) + 1, rows - 1);
  const edge = (row) => (row < 0 ? bounds[0] / 2 : row < bounds.length ? bounds[row] : bounds.at(-1) * 2);
  const shown = Array.from({ length: last - first + 1 }, (_, place) => first + place);
  const say = (row) => (row === bounds.length ? text("above", { low: milliseconds(bounds.at(-1)) })
    : text("between", { low: milliseconds(row ? bounds[row - 1] : 0), high: milliseconds(bounds[row]) }));
  const cells = shown.map((row) => counts.map((step) => step[row] || null));
  const data = empty ? [] : [{
    type: "heatmap",
    x: [...draw.at.map((_, place) => edgeTime(draw.series, place)), edgeTime(draw.series, draw.series.count)],
    y: [first - 1, ...shown].map(edge),
    z: cells.map((row) => row.map((count) => count && Math.sqrt(count))), // few beside many are still seen
    text: cells.map((row, place) => row.map((count) => (count
      ? `${say(shown[place])}<br>${text("requests", { count: number(count) })}` : ""))),
    hovertemplate: "%{x|%m-%d %H:%M:%S}<br>%{text}<extra></extra>", hoverongaps: false,
    zmin: 0, colorscale: [[0, mix(draw.colours, 0.12)], [1, draw.colours.inference]], showscale: false,
  }];
  const made = layout(draw, { empty, hover: "closest" });
  made.yaxis = { ...made.yaxis, type: "log", rangemode: "normal", ...decades(edge(first - 1), edge(last)) };
  return { data, layout: made };
}

function queue(draw) {
  const waiting = Object.entries(draw.series.queue_depth).map(([name, values]) => {
    // detections, detections-high, detections-low; for a model that images ask for, its name after a dot
    const [queue, ...model] = name.split(".");
    const kind = queue.split("-")[1] ?? "normal";
    return bars(draw, {
      name: [text(`queue.${kind}`), ...(model.length ? [model.join(".").replace(/[^a-z0-9._-]/g, "")] : [])].join(" · "), values, colour: draw.colours[QUEUES[kind] ?? "queue"], write: whole,
    });
  });
  const { busy, idle } = draw.series.workers;
  const ready = (idle ?? []).map((count, place) =>
    (count === null && (busy?.[place] ?? null) === null ? null : (count ?? 0) + (busy?.[place] ?? 0)));
  const lines = [["ready", ready, "muted"], ["busy", busy ?? [], "worker"]].map(([name, values, colour]) => line(
    draw, { name: text(`workers.${name}`), values, colour: draw.colours[colour], write: whole, shape: "hv" }));
  const data = [...waiting.filter((plot) => some(plot.y, true)), ...lines];
  const made = layout(draw, { stacked: true, empty: !measuredIn(data) });
  const most = Math.max(0, ...data.flatMap((plot) => plot.y));
  if (most <= 6) Object.assign(made.yaxis, { dtick: 1, range: [0, Math.max(most, 1) * 1.05] }); // whole images
  return { data, layout: made };
}

function batch(draw) {
  const data = [line(draw, {
    name: text("mean"), values: draw.series.batch_size, colour: draw.colours.preprocess,
    write: (value) => number(value, 2),
  })];
  return { data, layout: layout(draw, { empty: !measuredIn(data) }) };
}

function utilisation(draw) {
  const data = [line(draw, {
    name: text("utilisation"), values: draw.series.utilisation, colour: draw.colours.worker, write: percent,
  })];
  const made = layout(draw, { empty: !measuredIn(data), percent: true });
  made.shapes = [{
    type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1,
    line: { color: draw.colours.bad, width: 1, dash: "dash" },
  }];
  made.yaxis.range = [0, Math.max(1.1, 1.05 * Math.max(...draw.series.utilisation.filter((v) => v !== null), 0))];
  return { data, layout: made };
}

// -- what they are made of -------------------------------------------------------------------
const whole = (value) => number(value, 1);
const some = (values, above = false) => (values ?? []).some((value) => value !== null && (!above || value > 0));
const measuredIn = (data) => data.some((plot) => some(plot.y));

function bars(draw, { name, values, colour, write }) {
  return {
    type: "bar", name, x: draw.at, y: values, width: draw.width, opacity: 0.85, marker: { color: colour, line: { width: 0 } },
    ...hover(values, write),
  };
}

function line(draw, { name, values, colour, write, shape = "linear" }) {
  return {
    type: "scatter", mode: "lines+markers", name, x: draw.at, y: values, connectgaps: false,
    line: { color: colour, width: 1.75, shape }, marker: { size: alone(values), color: colour },
    ...hover(values, write),
  };
}

/** A point that has no neighbour is seen as a dot; all others as a line. */
const alone = (values) => values.map((value, place) =>
  (value !== null && (values[place - 1] ?? null) === null && (values[place + 1] ?? null) === null ? 5 : 0.01));

const hover = (values, write) => ({
  text: values.map((value) => (value === null ? "" : write(value))),
  textposition: "none",
  hovertemplate: "%{text}",
});

function layout(draw, { stacked, suffix = "", empty, percent: inPercent, hover: mode = "x unified" }) {
  const { colours, series } = draw;
  const ends = [edgeTime(series, 0), edgeTime(series, series.count)];
  const grid = { gridcolor: colours.line, zeroline: false, linecolor: colours.line, fixedrange: false };
  return {
    autosize: true, margin: { l: 56 * colours.scale, r: 14, t: 8, b: 38 * colours.scale }, barmode: stacked ? "stack" : "group", bargap: 0,
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colours.font, size: 11.5 * colours.scale, color: colours.muted },
    hovermode: empty ? false : mode,
    hoverlabel: { bgcolor: colours.card, bordercolor: colours.line, font: { color: colours.text, size: 12 * colours.scale } },
    legend: {
      orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", font: { size: 11.5 * colours.scale },
    },
    dragmode: "zoom",
    xaxis: {
      ...grid, type: "date", showgrid: false, hoverformat: "%Y-%m-%d %H:%M:%S", nticks: 7,
      // Not a range, which would undo what a person zoomed into at every refresh.
      autorangeoptions: { include: ends, clipmin: ends[0], clipmax: ends[1] }, tickformatstops: TICKS,
    },
    yaxis: {
      ...grid, rangemode: "tozero", ticksuffix: suffix, nticks: 6, fixedrange: true, visible: !empty,
      separatethousands: true, tickformat: inPercent ? ".0%" : undefined,
    },
    annotations: empty ? [{
      text: text("nothing"), showarrow: false, xref: "paper", yref: "paper", x: 0.5, y: 0.5,
      font: { size: 13, color: colours.muted },
    }] : [],
  };
}

/** Figures only, so that both languages read them. */
const TICKS = [
  { dtickrange: [null, 60_000], value: "%H:%M:%S" },
  { dtickrange: [60_000, 86_400_000], value: "%H:%M\n%m-%d" },
  { dtickrange: [86_400_000, null], value: "%m-%d" },
];

/** Ticks of a log axis in milliseconds: 1, 2, 5, 10, ... */
function decades(low, high) {
  const values = [];
  for (let power = -1; power < 6; power++) for (const step of [1, 2, 5]) values.push(step * 10 ** power);
  const inside = values.filter((value) => value >= low && value <= high);
  const tickvals = inside.length > 8 ? inside.filter((value) => Math.log10(value) % 1 === 0) : inside;
  return { tickmode: "array", tickvals, ticktext: tickvals.map(milliseconds), range: [Math.log10(low), Math.log10(high)] };
}

/** The middles of the steps, as the browser's clock shows them: plotly.js knows no zones. */
const times = (series) => Array.from({ length: series.count }, (_, place) => edgeTime(series, place + 0.5));

function edgeTime(series, place) {
  const at = new Date((series.start_s + place * series.step_s) * 1000);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 23);
}

function mix(colours, share) {
  const part = (hex, place) => parseInt(hex.slice(1 + 2 * place, 3 + 2 * place), 16);
  const long = (hex) => (hex.length === 4 ? `#${[...hex.slice(1)].map((c) => c + c).join("")}` : hex);
  const [over, under] = [long(colours.inference), long(colours.card)];
  return `rgb(${[0, 1, 2].map((p) => Math.round(share * part(over, p) + (1 - share) * part(under, p))).join(",")})`;
}

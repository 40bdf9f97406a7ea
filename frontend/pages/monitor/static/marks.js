// What happened to the service: alerts that fired, processes and models that are new. Drawn into
// every plot, and listed below them, for who sees no plot.
import { escape, moment, paint, text, time } from "./page.js";
import { local } from "./range.js";

const SHOWN_MAX = 60;
const KINDS = { alert: "bad", process: "muted", model: "nms" };

/** Those of a time, oldest first, at most as many as can be told apart: {at, kind, said}. */
export function marksOf(told, history, from, to) {
  const alerts = (history ?? []).filter((each) => each.fired_at >= from && each.fired_at <= to).map((each) => ({
    at: each.fired_at, kind: "alert", name: each.name, said: text("mark.alert", { name: each.name }),
  }));
  const processes = (told?.processes ?? []).map((each) => ({
    at: each.at_s, kind: "process", said: text("mark.process", { name: service(each.service), count: each.count }),
  }));
  const models = (told?.models ?? []).map((each) => ({
    at: each.at_s, kind: "model", said: text("mark.model", { name: `${each.model} ${each.version}`.trim() }),
  }));
  return [...alerts, ...processes, ...models].sort((a, b) => a.at - b.at).slice(-SHOWN_MAX);
}

const service = (name) => {
  const kind = { "damoscope-frontend": "frontend", "damoscope-worker": "worker" }[name];
  return kind ? text(`mark.${kind}`) : name;
};

/** A plot's layout with a line and a sign for each mark. */
export function marked(layout, marks, colours) {
  const at = (mark) => local(mark.at); // plotly.js knows no zones
  const shapes = marks.map((mark) => ({
    type: "line", xref: "x", yref: "paper", x0: at(mark), x1: at(mark), y0: 0, y1: 1, layer: "below",
    line: { color: colours[KINDS[mark.kind]], width: 1, dash: mark.kind === "alert" ? "solid" : "dot" },
  }));
  const signs = marks.map((mark) => ({
    xref: "x", yref: "paper", x: at(mark), y: 1, yanchor: "top", xanchor: "center", showarrow: false,
    text: "▼", font: { size: 9, color: colours[KINDS[mark.kind]] }, captureevents: true,
    hovertext: `${escape(mark.said)}<br>${escape(moment(mark.at))}`,
  }));
  return {
    ...layout, shapes: [...(layout.shapes ?? []), ...shapes],
    annotations: [...(layout.annotations ?? []), ...signs],
  };
}

export function list(page, marks, complete) {
  const root = page.querySelector(".ds-marks");
  root.hidden = !marks.length && complete;
  const rows = marks.toReversed().map((mark) => `<li class="mark-${mark.kind}"><i></i>${time(mark.at)} ${
    mark.name ? `<a href="monitor?alert=${encodeURIComponent(mark.name)}" data-alert-link>${escape(mark.said)}</a>`
      : escape(mark.said)}</li>`);
  paint(root, `<details data-name="marks"><summary data-key="marks">${escape(text("marks", { count: marks.length }))}</summary>`
    + `<ul>${rows.join("")}</ul>${complete ? "" : `<p class="ds-muted">${escape(text("marks.incomplete"))}</p>`}</details>`);
}

// The service level objectives: what is left of each error budget, and how fast it burns.
import { escape, message, milliseconds, moment, number, paint, percent, seconds, short, text } from "./page.js";

export class ObjectivesView {
  constructor(page) {
    this.root = page.querySelector(".ds-slo");
    this.alerts = new Map();
  }

  draw({ objectives }) {
    this.root.hidden = !objectives.length;
    paint(this.root, `<header><h2>${escape(text("slo"))}</h2><p>${escape(text("slo.hint"))}</p></header>`
      + `<div>${objectives.map(one).join("")}</div>`);
    this.redden();
  }

  /** Which cards are red: card -> the first alert's `name`, and what is `said` of all of them. */
  alarm(alerts) {
    this.alerts = alerts;
    this.redden();
  }

  redden() {
    for (const card of this.root.querySelectorAll("[data-card]")) {
      const why = this.alerts.get(card.dataset.card);
      card.classList.toggle("alarmed", Boolean(why));
      card.title = why?.said ?? "";
      const mark = card.querySelector("h3 a");
      mark.hidden = !why;
      mark.setAttribute("aria-label", why?.said ?? "");
      if (why) mark.href = `monitor?alert=${encodeURIComponent(why.name)}`;
    }
  }
}

/** Three digits after the point where they matter: 99.95 %. */
const exact = (share) => `${number(100 * share, 3)}\u00a0%`;

function one(objective) {
  const { left, window_s: window, threshold_s: threshold } = objective;
  const goal = text(threshold === null ? "slo.target" : "slo.target.within", {
    target: exact(objective.target), window: seconds(window),
    threshold: threshold === null ? "" : milliseconds(1000 * threshold),
  });
  const sense = left === null ? "" : left < 0 ? "bad" : left < 0.25 ? "low" : "good";
  const value = left === null ? "–" : percent(Math.max(left, 0));
  const said = left === null ? text("slo.few")
    : left < 0 ? text("slo.over", { times: short(1 - left) }) : text("slo.left");
  const rows = [
    ["slo.reached", objective.reached === null ? "–" : exact(objective.reached)],
    ["slo.bad", text("slo.of", { bad: number(objective.bad), count: number(objective.requests) })],
    ["slo.burn", objective.burn_rate === null ? "–" : `${short(objective.burn_rate)}×`],
  ];
  const since = objective.since_at === null ? ""
    : `<p class="ds-since">${escape(text("slo.since", { time: moment(objective.since_at) }))}</p>`;
  return `<article class="ds-objective ${sense}" data-card="slo_${escape(objective.name)}">`
    + `<h3><span>${escape(objective.name)}</span><a href="monitor" data-alert-link hidden>!</a></h3>`
    + `<p>${escape(message(objective.description))} <span>${escape(goal)}</span></p>`
    + `<p class="ds-left"><b>${escape(value)}</b> ${escape(said)}</p>`
    + `<i class="ds-meter"><i style="width:${(100 * Math.min(Math.max(left ?? 0, 0), 1)).toFixed(1)}%"></i></i>`
    + `<dl>${rows.map(([name, shown]) => `<div><dt>${escape(text(name))}</dt><dd>${escape(shown)}</dd></div>`).join("")}</dl>`
    + `${since}</article>`;
}

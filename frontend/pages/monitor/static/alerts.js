// The alerts: what fires, silences, history, rules, and where notifications go.
import { escape, measured, message, moment, number, paint, seconds, send, text, time } from "./page.js";

const MINUTES = [30, 120, 1440];
const SIGNS = { ">=": "≥", "<=": "≤" };

export class AlertsView {
  constructor(page, cards, reload) {
    this.root = page.querySelector(".ds-alerts");
    this.strip = page.querySelector(".ds-firing");
    this.cards = cards;
    this.reload = reload;
    this.told = ""; // what came of the last thing that was asked for here
    this.tested = null; // what each channel said to the last test
    this.title = document.title;
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-do]");
      if (button && !button.disabled) this.act(button);
    });
  }

  draw(alerts) {
    this.last = alerts;
    const firing = alerts.alerts.filter((alert) => alert.state === "firing");
    const red = new Map();
    for (const alert of firing.filter((found) => found.card)) {
      const said = `${alert.name}: ${message(alert.message)}`;
      const other = red.get(alert.card);
      red.set(alert.card, other ? { ...other, said: `${other.said}\n${said}` } : { name: alert.name, said });
    }
    this.cards.alarm(red);
    // Names only: a figure that changes with every refresh would be read aloud each time.
    paint(this.strip, firing.length ? `<b>${escape(firing.length === 1 ? text("alerts.one")
      : text("alerts.firing", { count: firing.length }))}</b> ${
      firing.map((alert) => own(alert.name, "strip")).join(" · ")}` : "");
    document.title = firing.length ? `(${firing.length}) ${this.title}` : this.title;
    paint(this.root, this.section(alerts));
    if (this.pointed !== wanted()) this.point();
    else this.place()?.classList.add("ds-pointed");
  }

  /** Where the alert that the address names is. */
  place() {
    const name = this.pointed && CSS.escape(this.pointed);
    return name && (this.root.querySelector(`[data-alert="${name}"]`) ?? this.root.querySelector(`[data-rule="${name}"]`));
  }

  /** Lead to the alert that the address names. */
  point() {
    if (!this.last) return;
    this.pointed = wanted();
    this.root.querySelectorAll(".ds-pointed").forEach((each) => each.classList.remove("ds-pointed"));
    this.root.querySelector(".ds-no-alert")?.remove();
    if (!this.pointed) return;
    const place = this.place();
    if (!place) {
      this.root.querySelector("header").insertAdjacentHTML("afterend",
        `<p class="ds-no-alert" role="status">${escape(text("alert.unknown", { name: this.pointed }))}</p>`);
      this.root.scrollIntoView();
      return;
    }
    const folded = place.closest("details");
    if (folded) folded.open = true;
    place.classList.add("ds-pointed");
    place.scrollIntoView({ block: "center" });
    place.querySelector("a[data-alert-link]")?.focus({ preventScroll: true });
  }

  unreadable(error) {
    paint(this.root, `<header><h2>${escape(text("alerts"))}</h2></header><p class="ds-error">${
      escape(error.status ? text("alerts.unreadable", { reason: error.message }) : text("away"))}</p>`);
  }

  section(alerts) {
    const active = alerts.alerts.filter((alert) => alert.state !== "inactive");
    const named = new Set(active.map((alert) => alert.name));
    const others = alerts.silences.filter((silence) => !named.has(silence.name));
    return header(alerts)
      + (alerts.problem ? `<p class="ds-error">${escape(message({ en: alerts.problem, zh: alerts.problem_zh }))}</p>` : "")
      + (this.told ? `<p class="ds-error" role="alert">${escape(this.told)}</p>` : "")
      + active.map((alert) => one(alert, alerts.silences)).join("")
      + (active.length || alerts.problem ? "" : `<p class="ds-calm">${escape(text("alerts.quiet"))}</p>`)
      + others.map(silenced).join("")
      + this.channels(alerts.channels) + history(alerts) + rules(alerts);
  }

  channels(kinds) {
    if (!kinds.length) return `<p class="ds-channels ds-none">${escape(text("channels.none"))}</p>`;
    const results = (this.tested ?? []).map((sent) => `<li class="${sent.ok ? "good" : "bad"}">`
      + `<b>${escape(sent.channel)}</b> ${escape(sent.ok ? text("test.ok") : sent.error)}</li>`).join("");
    return `<div class="ds-channels"><p>${escape(text("channels"))} ${kinds.map((kind) =>
      `<code>${escape(kind)}</code>`).join(" ")}</p>`
      + `<button type="button" data-do="test" data-key="test">${escape(text("test"))}</button>`
      + `<ul role="status">${results}</ul></div>`;
  }

  async act(button) {
    button.disabled = true;
    const { do: what, name, minutes, id } = button.dataset;
    this.told = "";
    try {
      if (what === "silence") await send("POST", "api/v1/alerts/silences", { name, minutes: Number(minutes), comment: "" });
      if (what === "lift") await send("DELETE", `api/v1/alerts/silences/${encodeURIComponent(id)}`);
      if (what === "test") {
        button.textContent = text("test.sending");
        this.tested = null;
        this.tested = await send("POST", "api/v1/alerts/test");
      }
    } catch (error) {
      this.told = error.status === 0 ? text("away") : text("failed.action", { reason: error.message });
    }
    this.root.painted = null; // the button says something else by now
    paint(this.root, this.section(this.last));
    if (what !== "test") this.reload();
  }
}

const wanted = () => new URLSearchParams(location.search).get("alert");

/** A link to an alert's own address. */
const own = (name, where) => `<a href="monitor?alert=${encodeURIComponent(name)}" data-alert-link data-key="${where}-${
  escape(name)}">${escape(name)}</a>`;

function header(alerts) {
  const by = alerts.evaluated_at === null ? escape(text("alerts.never"))
    : withTime(`alerts.${alerts.source}`, alerts.evaluated_at);
  return `<header><h2>${escape(text("alerts"))}</h2><span class="ds-muted">${by}</span></header>`;
}

function one(alert, silences) {
  const silence = silences.find((found) => found.name === alert.name);
  const key = escape(alert.name);
  const trace = alert.example_trace_id
    ? `<a href="traces?trace=${encodeURIComponent(alert.example_trace_id)}" data-key="trace-${key}">${escape(text("trace"))}</a>` : "";
  return `<article class="ds-alert ${escape(alert.severity)} ${escape(alert.state)}" data-alert="${key}">`
    + `<header><span class="ds-severity">${escape(text(`severity.${alert.severity}`))}</span><h3>${own(alert.name, "alert")}</h3>`
    + `<span class="ds-muted">${state(alert)}</span>`
    + `<span class="ds-value">${escape(measured(alert.value, alert.unit))} <i>${escape(condition(alert))}</i></span></header>`
    + `<p>${escape(message(alert.message))} <span class="ds-muted">${escape(message(alert.action))}</span></p>`
    + `<footer>${trace}${silence ? lift(silence) : menu(alert)}</footer></article>`;
}

function state(alert) {
  const now = text(`alert.${alert.state}`);
  return alert.since_at === null ? escape(now) : withTime("alert.since", alert.since_at, { state: now });
}

/** HTML of a text with a point in time in it. */
const withTime = (name, at, values = {}) =>
  escape(text(name, { ...values, time: "\u0000" })).replace("\u0000", () => time(at));

const condition = (alert) => (alert.comparison === null || alert.threshold === null ? ""
  : `${SIGNS[alert.comparison] ?? alert.comparison} ${measured(alert.threshold, alert.unit)}`);

function menu(alert) {
  const buttons = MINUTES.map((minutes) => `<button type="button" data-do="silence" data-name="${escape(alert.name)}" `
    + `data-minutes="${minutes}" data-key="silence-${escape(alert.name)}-${minutes}">${escape(text(`silence.${minutes}`))}</button>`);
  return `<span class="ds-silence" role="group" aria-label="${escape(text("silence"))}"><span>${escape(text("silence"))}</span>${buttons.join("")}</span>`;
}

const lift = (silence) => `<span class="ds-silence"><span>${
  escape(text(silence.name === "*" ? "silenced.all" : "silenced", { time: moment(silence.until_at) }))}</span>`
  + `<button type="button" data-do="lift" data-id="${escape(silence.id)}" data-key="lift-${escape(silence.id)}">${
    escape(text("lift"))}</button></span>`;

const silenced = (silence) => `<p class="ds-others">${silence.name === "*" ? "" : `<b>${escape(silence.name)}</b> `}${lift(silence)}</p>`;

function history(alerts) {
  const units = new Map(alerts.alerts.map((alert) => [alert.name, alert.unit]));
  const rows = alerts.history.map((episode) => {
    const lasted = episode.resolved_at === null ? text("history.ongoing") : seconds(episode.resolved_at - episode.fired_at);
    const fired = episode.example_trace_id
      ? `<a href="traces?trace=${encodeURIComponent(episode.example_trace_id)}">${time(episode.fired_at)}</a>` : time(episode.fired_at);
    return {
      row: `data-episode="${escape(episode.name)}" title="${escape(message(episode.message))}"`,
      cells: [
        `<span><span class="ds-severity ${escape(episode.severity)}">${escape(text(`severity.${episode.severity}`))}</span> ${
          escape(episode.name)}</span>`,
        fired, escape(lasted), escape(measured(episode.worst, units.get(episode.name) ?? "")), escape(delivered(episode)),
      ],
    };
  });
  const head = ["alert", "fired", "lasted", "worst", "sent"].map((name) => text(`history.${name}`));
  return `<h3>${escape(text("history"))}</h3>${rows.length ? table(head, rows)
    : `<p class="ds-none">${escape(text("history.none"))}</p>`}`;
}

/** What became of the notice that it fires. */
function delivered({ delivery, notified, silenced: quiet }) {
  if (delivery) {
    const { state, sent, channels, error } = delivery;
    const told = text(`notified.${state}`, { sent: number(sent), channels: number(channels) });
    return error ? `${told} (${error})` : told;
  }
  return text(notified ? "notified.unknown" : quiet ? "notified.silenced" : "notified.none");
}

function rules(alerts) {
  const rows = alerts.alerts.map((alert) => ({
    row: `data-rule="${escape(alert.name)}"`,
    cells: [
      `<span><b>${own(alert.name, "rule")}</b><br><span class="ds-muted">${escape(message(alert.message))}</span></span>`,
      `<span class="ds-state-of ${escape(alert.state)}">${escape(text(alert.enabled ? `alert.${alert.state}` : "alert.off"))}</span>`,
      escape(measured(alert.value, alert.unit)),
      `<span>${escape(condition(alert))}<br><span class="ds-muted">${escape(lasting(alert))}</span></span>`,
      escape(text(`severity.${alert.severity}`)),
    ],
  }));
  const head = ["rule", "state", "value", "condition", "severity"].map((name) => text(`rules.${name}`));
  return `<details class="ds-rules" data-name="rules"><summary data-key="rules">${
    escape(text("rules", { count: alerts.alerts.length }))}</summary>${table(head, rows)}</details>`;
}

function lasting({ window_s: span, for_s: held }) {
  if (span && held) return text("rules.window", { window: seconds(span), lasting: seconds(held) });
  if (held) return text("rules.for", { lasting: seconds(held) });
  return span ? text("rules.window.only", { window: seconds(span) }) : "";
}

/** A table of titles and rows of cells, each of which has its title at hand where rows are lists. */
function table(titles, rows) {
  const head = titles.map((title) => `<th>${escape(title)}</th>`).join("");
  const body = rows.map(({ row, cells }) => `<tr ${row}>${cells.map((cell, place) =>
    `<td data-title="${escape(titles[place])}">${cell}</td>`).join("")}</tr>`).join("");
  return `<div class="ds-table stacks" tabindex="0"><table><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>`;
}

// The Monitor page: what it asks for, and when. What it shows is drawn by the other modules.
import { Unanswered, ask, learn, moment, text } from "./page.js";
import { AlertsView } from "./alerts.js";
import { Cards } from "./cards.js";
import { Plots } from "./plots.js";
import { capacity } from "./capacity.js";
import { list, marksOf } from "./marks.js";
import { iso, length, local, parameters, rangeOf, seconds } from "./range.js";
import { ObjectivesView } from "./slo.js";
import { extremes, follow, never } from "./tables.js";
import { wall } from "./wall.js";

const LISTED = 10;
/** Past alerts, of which the last are listed and all are marked. */
const HISTORY = 50;
/** Seconds after which an answer is no longer waited for. */
const PATIENCE_S = 30;
/** Plots and lists change with their steps, not with every refresh; seconds at the most. */
const HEAVY_MAX_S = 60;

export function start(element) {
  const page = element.querySelector(".ds-monitor");
  learn(JSON.parse(page.dataset.texts));
  new Monitor(page).show();
}

class Monitor {
  constructor(page) {
    this.page = page;
    this.filter = page.querySelector(".ds-filter");
    this.banner = page.querySelector(".ds-banner");
    this.cards = new Cards(page.querySelector(".ds-figures"));
    this.plots = new Plots(page, page.dataset.plotly, {
      zoom: (from, to) => this.zoom(from, to), open: (asked) => this.open(asked),
    });
    this.objectives = new ObjectivesView(page);
    const red = { alarm: (alerts) => [this.cards, this.objectives].forEach((each) => each.alarm(alerts)) };
    this.alerts = new AlertsView(page, red, () => this.round(true));
    this.happened = { told: null, history: null };
    this.running = null; // the round in flight
    this.drawnAt = null; // when figures were last read
    this.heavy = { key: null, at: 0 };
    this.everSeen = false;
    follow(page);
    this.wire();
  }

  wire() {
    this.filter.refresh.options[0].textContent = text("off");
    this.filter.addEventListener("click", (event) => {
      const choice = event.target.closest(".ds-choice button");
      if (choice) this.go({ window: choice.value, from: null, to: null });
      if (event.target.closest(".ds-ranged")) this.choose();
      if (event.target.closest("[data-wall]")) this.go({ wall: 1 });
    });
    for (const name of ["from", "to"]) {
      this.filter[name].addEventListener("change", () => {
        const at = seconds(this.filter[name].value);
        this.go({ [name]: at === null ? null : iso(at) });
      });
    }
    this.page.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-alert-link]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.go({ alert: new URL(link.href).searchParams.get("alert") });
      this.alerts.point();
    });
    this.filter.refresh.addEventListener("change", () => this.go({ refresh: this.filter.refresh.value }));
    this.filter.addEventListener("submit", (event) => {
      event.preventDefault();
      this.round(true);
    });
    window.addEventListener("popstate", () => this.show());
    this.filter.inert = false;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(this.timer);
      else if (this.asked().refresh) this.round(false);
    });
  }

  /** What is in the address: a time, and seconds between refreshes. */
  asked() {
    const address = new URLSearchParams(location.search);
    const windows = [...this.filter.querySelectorAll(".ds-choice button")].map((b) => b.value);
    const paces = [...this.filter.refresh.options].map((o) => o.value);
    const pace = address.get("refresh");
    return {
      range: rangeOf(address, windows, this.page.dataset.window),
      refresh: Number(paces.includes(pace) ? pace : this.page.dataset.refresh),
    };
  }

  go(changes) {
    const before = new URLSearchParams(location.search), next = new URLSearchParams(before);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) next.delete(name);
      else next.set(name, value);
    }
    if (next.toString() === before.toString()) return;
    history.pushState(null, "", `${location.pathname}?${next}`);
    this.show();
  }

  /** The time between two moments, for the whole page; without them back to where it was. */
  zoom(from, to) {
    if (from === undefined) this.go({ from: null, to: null });
    else if (to > from) this.go({ from: iso(Math.floor(from)), to: iso(Math.max(Math.ceil(to), Math.floor(from) + 10)) });
  }

  /** A time of one's own: what is shown now, to be changed. */
  choose() {
    const { range } = this.asked();
    if (range.from !== null) return this.zoom();
    const now = Date.now() / 1000;
    return this.zoom(now - range.window, now);
  }

  /** The images that a plot's moment is about. */
  open({ from, to, ...more }) {
    const query = new URLSearchParams({ from: iso(from), to: iso(to), ...more });
    location.assign(new URL(`traces?${query}`, document.baseURI));
  }

  show() {
    const { range, refresh } = this.asked();
    const ranged = range.from !== null;
    wall(this.page, new URLSearchParams(location.search).has("wall"));
    this.filter.querySelectorAll(".ds-choice button").forEach((button) => {
      button.setAttribute("aria-pressed", !ranged && Number(button.value) === range.window);
    });
    this.filter.querySelector(".ds-ranged").setAttribute("aria-pressed", ranged);
    const fields = this.filter.querySelector(".ds-range");
    // Whoever types is for a moment at a time that cannot be: the field stays.
    fields.hidden = !ranged && !fields.contains(document.activeElement);
    for (const name of ["from", "to"]) {
      if (this.filter[name] !== document.activeElement) this.filter[name].value = range[name] === null ? "" : local(range[name]);
    }
    this.page.querySelector(".ds-images").href = `traces?${parameters(range)}`;
    this.filter.refresh.value = String(refresh);
    this.round(true);
  }

  /** Ask for everything once. A round that is asked for by hand replaces the one in flight;
      one that is due by the clock waits for it. */
  async round(byHand) {
    if (this.running && !byHand) return;
    this.running?.abort();
    clearTimeout(this.timer);
    const mine = new AbortController();
    this.running = mine;
    const patience = setTimeout(() => mine.abort(), PATIENCE_S * 1000);
    this.page.setAttribute("aria-busy", "true");
    try {
      await this.load(this.asked(), byHand, mine);
    } finally {
      clearTimeout(patience);
      if (this.running === mine) {
        this.running = null;
        this.page.removeAttribute("aria-busy");
        this.page.dataset.rounds = Number(this.page.dataset.rounds ?? 0) + 1;
        const { refresh } = this.asked();
        if (refresh && !document.hidden) this.timer = setTimeout(() => this.round(false), refresh * 1000);
      }
    }
  }

  async load({ range, refresh }, byHand, mine) {
    const now = Date.now() / 1000;
    // Of a time that is over nothing changes any more.
    const wait = range.over ? Infinity : Math.min(Math.max(refresh, length(range) / 360), HEAVY_MAX_S);
    const heavy = byHand || this.heavy.key !== range.key || now - this.heavy.at >= wait - 0.5;
    if (heavy) this.heavy = { key: range.key, at: now };
    const span = parameters(range);
    const failures = {};
    // Each part is drawn as it comes, unless a newer round has begun; each fails alone.
    const part = async (name, path, draw, failed) => {
      try {
        const answer = await ask(path, { signal: mine.signal });
        if (this.running === mine) draw(answer);
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error;
        if (this.running !== mine) return;
        failures[name] = error;
        failed?.(error);
      }
    };
    const slowest = `api/v1/traces?${span}&order=slowest&limit=${LISTED}`;
    const failed = `api/v1/traces?${span}&status=error&limit=${LISTED}`;
    const lists = extremes(this.page);
    await Promise.all([
      (heavy || !range.over) && part("stats", `api/v1/stats?${span}`, (stats) => this.figures(stats, mine)),
      part("alerts", `api/v1/alerts?history=${HISTORY}`, (alerts) => {
        this.alerts.draw(alerts);
        this.mark({ history: alerts.history }, range);
      }, (error) => this.alerts.unreadable(error)),
      heavy && part("slo", "api/v1/slo", (slo) => this.objectives.draw(slo)),
      heavy && part("series", `api/v1/stats/series?${span}`,
        (series) => this.plots.draw(series, range.key)),
      heavy && part("marks", `api/v1/stats/marks?${span}`, (told) => this.mark({ told }, range)),
      heavy && part("slowest", slowest, (found) => lists.draw("slowest", found),
        (error) => lists.unreadable("slowest", error)),
      heavy && part("failed", failed, (found) => lists.draw("failed", found),
        (error) => lists.unreadable("failed", error)),
    ]);
    if (this.running !== mine) return;
    if (failures.series || failures.slowest || failures.failed) this.heavy.at = 0;
    this.tell(failures.stats ?? failures.series);
  }

  /** What happened to the service in this time, as far as it is known. */
  mark(more, range) {
    Object.assign(this.happened, more);
    const { told, history } = this.happened;
    const end = range.to ?? Date.now() / 1000;
    const marks = marksOf(told, history, end - length(range), end);
    this.plots.mark(marks);
    list(this.page, marks, told?.complete ?? true);
  }

  figures(stats, mine) {
    this.drawnAt = Date.now() / 1000;
    this.filter.querySelector(".ds-asof").textContent = text("asof", { time: moment(this.drawnAt) });
    this.cards.draw(stats.cards);
    capacity(this.page, stats.capacity);
    const total = Object.values(stats.requests).reduce((sum, count) => sum + count, 0);
    if (total) this.everSeen = true;
    this.page.dataset.quiet = Number(!total);
    if (this.everSeen) never(this.page, total ? "" : "quiet");
    else this.lookBack(mine);
  }

  /** Nothing in the window: has there ever been an image? */
  async lookBack(mine) {
    const any = await ask("api/v1/traces?limit=1", { signal: mine.signal }).catch(() => null);
    if (any === null || this.everSeen) return;
    this.everSeen = any.length > 0;
    never(this.page, this.everSeen ? "quiet" : "never");
  }

  /** The banner: what does not answer, and how old what is shown is. */
  tell(error) {
    this.banner.hidden = !error;
    this.page.classList.toggle("stale", Boolean(error));
    if (!error) return;
    const said = error.status ? text("unreadable", { reason: sentence(error.message) }) : text("away");
    const since = this.drawnAt ? ` ${text("stale", { time: moment(this.drawnAt) })}` : "";
    if (this.banner.textContent !== said + since) this.banner.textContent = said + since;
  }
}

const sentence = (reason) => reason && `${reason[0].toUpperCase()}${reason.slice(1)}${/[.。]$/.test(reason) ? "" : "."}`;

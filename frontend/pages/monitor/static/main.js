// The Monitor page: what it asks for, and when. What it shows is drawn by the other modules.
import { Unanswered, ask, learn, moment, text } from "./page.js";
import { AlertsView } from "./alerts.js";
import { Cards } from "./cards.js";
import { Plots } from "./plots.js";
import { capacity } from "./capacity.js";
import { extremes, follow, never } from "./tables.js";

const LISTED = 10;
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
    this.plots = new Plots(page, page.dataset.plotly);
    this.alerts = new AlertsView(page, this.cards, () => this.round(true));
    this.running = null; // the round in flight
    this.drawnAt = null; // when figures were last read
    this.heavy = { window: null, at: 0 };
    this.everSeen = false;
    follow(page);
    this.wire();
  }

  wire() {
    this.filter.refresh.options[0].textContent = text("off");
    this.filter.addEventListener("click", (event) => {
      const choice = event.target.closest(".ds-choice button");
      if (choice) this.go({ window: choice.value });
    });
    this.filter.refresh.addEventListener("change", () => this.go({ refresh: this.filter.refresh.value }));
    this.filter.addEventListener("submit", (event) => {
      event.preventDefault();
      this.round(true);
    });
    window.addEventListener("popstate", () => this.show());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) clearTimeout(this.timer);
      else if (this.asked().refresh) this.round(false);
    });
  }

  /** What is in the address: a window that is offered, and seconds between refreshes. */
  asked() {
    const address = new URLSearchParams(location.search);
    const given = (name, offered) => {
      const value = address.get(name);
      return Number(offered.includes(value) ? value : this.page.dataset[name]);
    };
    return {
      window: given("window", [...this.filter.querySelectorAll(".ds-choice button")].map((b) => b.value)),
      refresh: given("refresh", [...this.filter.refresh.options].map((o) => o.value)),
    };
  }

  go(changes) {
    const next = new URLSearchParams(location.search);
    for (const [name, value] of Object.entries(changes)) next.set(name, value);
    history.pushState(null, "", `${location.pathname}?${next}${location.hash}`);
    this.show();
  }

  show() {
    const { window: span, refresh } = this.asked();
    this.filter.querySelectorAll(".ds-choice button").forEach((button) => {
      button.setAttribute("aria-pressed", Number(button.value) === span);
    });
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

  async load({ window: span, refresh }, byHand, mine) {
    const now = Date.now() / 1000;
    const wait = Math.min(Math.max(refresh, span / 360), HEAVY_MAX_S);
    const heavy = byHand || this.heavy.window !== span || now - this.heavy.at >= wait - 0.5;
    if (heavy) this.heavy = { window: span, at: now };
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
    const slowest = `api/v1/traces?window=${span}&order=slowest&limit=${LISTED}`;
    const failed = `api/v1/traces?window=${span}&status=error&limit=${LISTED}`;
    const lists = extremes(this.page);
    await Promise.all([
      part("stats", `api/v1/stats?window=${span}`, (stats) => this.figures(stats, mine)),
      part("alerts", "api/v1/alerts?history=50", (alerts) => this.alerts.draw(alerts),
        (error) => this.alerts.unreadable(error)),
      heavy && part("series", `api/v1/stats/series?window=${span}`,
        (series) => this.plots.draw(series, span)),
      heavy && part("slowest", slowest, (found) => lists.draw("slowest", found),
        (error) => lists.unreadable("slowest", error)),
      heavy && part("failed", failed, (found) => lists.draw("failed", found),
        (error) => lists.unreadable("failed", error)),
    ]);
    if (this.running !== mine) return;
    if (failures.series || failures.slowest || failures.failed) this.heavy.at = 0;
    this.tell(failures.stats ?? failures.series);
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

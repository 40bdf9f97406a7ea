// The cards: each made once, then only its texts and its line change, so that nothing jumps.
import { bytes, escape, known, milliseconds, number, percent, seconds, short, text } from "./page.js";

const WIDTH = 120, HEIGHT = 28;
const whole = (value) => number(value, 1);
/** How a figure is written, by its unit; `{...}` is a count. */
const UNITS = { "1/s": short, ms: milliseconds, s: seconds, By: bytes, 1: percent };
/** Figures that are written more finely than their unit. */
const FINE = {
  success_rate: (value) => `${number(100 * value, 2)}\u00a0%`,
  detections_per_image: (value) => number(value, 2),
};

function kindOf({ name, unit, good }) {
  const counts = unit.startsWith("{");
  return {
    write: FINE[name] ?? UNITS[unit] ?? (counts ? whole : short),
    good,
    share: unit === "1",
    count: counts && !(name in FINE),
  };
}

export class Cards {
  constructor(root) {
    this.root = root;
    this.shown = new Map();
    this.alerts = new Map(); // card -> why it is red
  }

  draw(cards) {
    const names = cards.map((card) => card.name);
    for (const [name, card] of this.shown) {
      if (!names.includes(name)) {
        card.remove();
        this.shown.delete(name);
      }
    }
    for (const card of cards) {
      if (!this.shown.has(card.name)) this.shown.set(card.name, this.make(card.name));
      this.fill(this.shown.get(card.name), card);
    }
    this.root.style.setProperty("--columns", Math.ceil(cards.length / 2));
    this.redden();
  }

  make(name) {
    const title = known(`monitor.card.${name}`) ? text(`card.${name}`) : name;
    const card = document.createElement("article");
    card.className = "ds-figure";
    card.dataset.card = name;
    card.innerHTML = `<h3>${escape(title)}<a href="monitor" data-alert-link hidden>!</a></h3>`
      + "<b></b><span></span>"
      + `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" aria-hidden="true">`
      + '<path class="area"/><path class="line"/></svg>';
    this.root.append(card);
    return card;
  }

  fill(element, card) {
    const kind = kindOf(card);
    const value = element.querySelector("b");
    value.textContent = card.value === null ? "–" : kind.write(card.value);
    value.title = card.value === null ? text("unmeasured") : "";
    const { said, sense, why } = change(card, kind);
    const delta = element.querySelector("span");
    delta.textContent = said || "\u00a0";
    delta.className = sense;
    delta.title = why;
    const paths = sparkline(card.sparkline);
    element.querySelector(".area").setAttribute("d", paths.area);
    element.querySelector(".line").setAttribute("d", paths.line);
  }

  /** Which cards are red: card -> the first alert's `name`, and what is `said` of all of them. */
  alarm(alerts) {
    this.alerts = alerts;
    this.redden();
  }

  redden() {
    for (const [name, card] of this.shown) {
      const why = this.alerts.get(name);
      card.classList.toggle("alarmed", Boolean(why));
      card.title = why?.said ?? "";
      const mark = card.querySelector("a");
      mark.hidden = !why;
      mark.setAttribute("aria-label", why?.said ?? "");
      if (why) mark.href = `monitor?alert=${encodeURIComponent(why.name)}`;
    }
  }
}

/** Against the window before: what is said, whether that is good, and the figure it is said of. */
function change({ value, before }, kind) {
  if (value === null) return { said: "", sense: "", why: "" };
  if (before === null) return { said: "", sense: "", why: text("before.none") };
  const why = text("before", { value: kind.write(before) });
  const difference = value - before;
  let said;
  if (kind.share) said = text("points", { value: number(Math.abs(100 * difference), 1) });
  else if (kind.count || before === 0) said = kind.write(Math.abs(difference));
  else said = `${number((100 * Math.abs(difference)) / before, 0)}\u00a0%`;
  const same = kind.share ? Math.abs(difference) < 0.0005
    : kind.count || before === 0 ? Math.abs(difference) < 0.05
      : Math.abs(difference) / before < 0.005;
  if (same) return { said: "±0", sense: "", why };
  const sense = Math.sign(difference) * kind.good;
  return {
    said: `${difference > 0 ? "▲" : "▼"} ${said}`,
    sense: sense > 0 ? "better" : sense < 0 ? "worse" : "",
    why,
  };
}

/** A line from 0 to the greatest value, broken where nothing was measured. */
function sparkline(values) {
  const measured = values.filter((value) => value !== null);
  const top = Math.max(...measured, 0) || 1;
  const x = (place) => ((place * WIDTH) / Math.max(values.length - 1, 1)).toFixed(1);
  const y = (value) => (HEIGHT - 2 - ((HEIGHT - 5) * value) / top).toFixed(1);
  let line = "", area = "", from = null;
  values.forEach((value, place) => {
    if (value === null) return;
    const begins = place === 0 || values[place - 1] === null;
    const ends = place === values.length - 1 || values[place + 1] === null;
    if (begins) from = x(place);
    line += begins ? `M${from} ${y(value)}` : `L${x(place)} ${y(value)}`;
    area += begins ? `M${from} ${HEIGHT}L${from} ${y(value)}` : `L${x(place)} ${y(value)}`;
    if (begins && ends) line += "h0.01"; // a lone point: the round end of a line shows it
    if (ends) area += `L${x(place)} ${HEIGHT}Z`;
  });
  return { line, area };
}

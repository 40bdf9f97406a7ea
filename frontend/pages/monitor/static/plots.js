// Draws the plots with plotly.js, which is loaded when the first of them is to be drawn.
import { clicked, figures } from "./figures.js";
import { text } from "./page.js";

const CONFIG = {
  displaylogo: false, responsive: true, displayModeBar: false, doubleClick: false,
  scrollZoom: false, showTips: false, locale: "en",
};

export class Plots {
  /** `zoom` is told two moments, or nothing to go back; `open` what images were asked for. */
  constructor(page, address, { zoom, open }) {
    this.page = page;
    this.marks = [];
    this.zoom = zoom;
    this.open = open;
    this.address = address;
    this.last = null;
    // Colours come from the page's style, which follows light and dark.
    const redraw = () => this.last && this.draw(...this.last);
    new MutationObserver(redraw).observe(document.body, { attributeFilter: ["class"] });
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["class"] });
  }

  /** Draw what happened meanwhile into what is there. */
  mark(marks) {
    if (JSON.stringify(marks) === JSON.stringify(this.marks)) return;
    this.marks = marks;
    if (this.last) this.draw(...this.last);
  }

  async draw(series, key) {
    this.last = [series, key];
    const plotly = await load(new URL(this.address, document.baseURI).href);
    // Without the library the next refresh tries again; a newer answer has a call of its own.
    if (!plotly || this.last[0] !== series) return;
    const drawn = figures(series, palette(this.page), this.marks);
    for (const canvas of this.page.querySelectorAll(".ds-canvas")) {
      const name = canvas.parentElement.dataset.plot;
      const { data, layout } = drawn[name];
      // What is hidden by the legend stays through refreshes; another time begins anew.
      layout.uirevision = key;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", text(`plot.${name}`));
      await plotly.react(canvas, data, layout, CONFIG);
      canvas.dataset.points = series.count;
      this.wire(canvas, name);
    }
  }

  /** A dragged stretch is the whole page's; a click on a moment lists its images. */
  wire(canvas, name) {
    if (canvas.wired) return;
    canvas.wired = true;
    canvas.on("plotly_relayout", (change) => {
      const ends = [change["xaxis.range[0]"], change["xaxis.range[1]"]];
      if (ends.every(Boolean)) this.zoom(...ends.map((end) => new Date(String(end).replace(" ", "T")) / 1000));
    });
    canvas.on("plotly_doubleclick", () => this.zoom());
    canvas.on("plotly_click", (event) => {
      const asked = clicked(name, this.last[0], event);
      if (asked) this.open(asked);
    });
  }
}

let loading = null;

function load(address) {
  loading ??= new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null;
      script.remove();
      resolve(null);
    };
    document.head.append(script);
  });
  return loading;
}

function palette(page) {
  const style = getComputedStyle(page);
  const names = ["upload", "queue", "preprocess", "inference", "nms", "frontend", "worker", "good", "bad",
    "muted", "line", "card", "soft"];
  const colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--ds-${name}`).trim()]));
  const scale = page.classList.contains("wall") ? 1.5 : 1; // read from across a room
  return { ...colours, scale, text: style.getPropertyValue("--body-text-color").trim(), font: style.fontFamily };
}

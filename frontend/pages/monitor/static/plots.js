// Draws the plots with plotly.js, which is loaded when the first of them is to be drawn.
import { figures } from "./figures.js";
import { text } from "./page.js";

const CONFIG = {
  displaylogo: false, responsive: true, displayModeBar: false, doubleClick: "reset",
  scrollZoom: false, showTips: false, locale: "en",
};

export class Plots {
  constructor(page, address) {
    this.page = page;
    this.address = address;
    this.last = null;
    // Colours come from the page's style, which follows light and dark.
    const redraw = () => this.last && this.draw(...this.last);
    new MutationObserver(redraw).observe(document.body, { attributeFilter: ["class"] });
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["class"] });
  }

  async draw(series, span) {
    this.last = [series, span];
    const plotly = await load(new URL(this.address, document.baseURI).href);
    // Without the library the next refresh tries again; a newer answer has a call of its own.
    if (!plotly || this.last[0] !== series) return;
    const drawn = figures(series, palette(this.page));
    for (const canvas of this.page.querySelectorAll(".ds-canvas")) {
      const name = canvas.parentElement.dataset.plot;
      const { data, layout } = drawn[name];
      // What a person zoomed into stays through refreshes; another window begins anew.
      layout.uirevision = String(span);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", text(`plot.${name}`));
      await plotly.react(canvas, data, layout, CONFIG);
      canvas.dataset.points = series.count;
    }
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
  return { ...colours, text: style.getPropertyValue("--body-text-color").trim(), font: style.fontFamily };
}

// Runs a tab's event, and tells what came of it.
import * as choices from "./choices.js";
import * as models from "./models.js";
import * as sliders from "./sliders.js";
import { text } from "./texts.js";

const under = {};

// The HTML that the service answers; null when a later run has taken this one's place, or it was
// given up. Throws what to say where there is no answer.
export async function run(tab, ids) {
  under[tab]?.abort(); // its image is withdrawn
  const mine = (under[tab] = new AbortController());
  const event = Number(document.querySelector(`[data-tab="${tab}"]`).dataset.event);
  try {
    const answer = await fetch("gradio_api/run/predict", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ fn_index: event, data: [ids, ...asked(tab)] }),
      signal: mine.signal,
    });
    const told = await answer.json();
    if (under[tab] !== mine) return null;
    if (answer.ok && typeof told.data?.[0] === "string") return told.data[0];
    const key = { 401: "detect.lost.login", 429: "detect.lost.many" }[answer.status];
    throw new Error(text(key ?? "detect.lost"));
  } catch (error) {
    if (under[tab] !== mine || mine.signal.aborted) return null;
    document.dispatchEvent(new CustomEvent("ds-look"));
    throw new Error(error instanceof TypeError || error instanceof SyntaxError ? text("detect.lost") : error.message);
  } finally {
    if (under[tab] === mine) delete under[tab];
  }
}

export function stop(tab) {
  under[tab]?.abort();
  delete under[tab];
}

// What a tab's controls ask of a run.
function asked(tab) {
  return [sliders.value(tab, "score"), sliders.value(tab, "iou"), choices.tiles(tab), models.chosen(tab)];
}

// Not by the component's value: that Gradio may set to its first one at any time after a tab has
// opened, and draws what it was then. Where the value stays as it is, it draws nothing.
export function draw(host, html) {
  host.innerHTML = html;
}

export function empty(title, hint) {
  const place = document.createElement("div");
  place.className = "ds-empty";
  for (const [key, kind] of [[title, ""], [hint, "ds-muted"]]) {
    const line = document.createElement("p");
    line.className = kind;
    line.textContent = text(key);
    place.append(line);
  }
  return place.outerHTML;
}

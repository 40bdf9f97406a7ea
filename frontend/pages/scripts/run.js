// Runs a tab's event, and tells what came of it.
import { text } from "./texts.js";

const under = {};

// Hears what the page's inputs tell, also what they told before this script was there.
export function hear(name, act) {
  document.addEventListener(name, (event) => act(event.detail));
  const earlier = document.told?.[name];
  if (earlier !== undefined) act(earlier);
}

// The HTML that the service answers; null when a later run has taken this one's place, or it was
// given up. Throws what to say where there is no answer.
export async function run(tab, ids, score, iou) {
  under[tab]?.abort(); // its image is withdrawn
  const mine = (under[tab] = new AbortController());
  const event = Number(document.querySelector(`[data-tab="${tab}"]`).dataset.event);
  try {
    const answer = await fetch("gradio_api/run/predict", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ fn_index: event, data: [ids, score, iou] }),
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

// Gradio draws in a microtask when a value is set; `then` is called when it has.
export function draw(api, html, then) {
  api.props.value = html;
  queueMicrotask(then);
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

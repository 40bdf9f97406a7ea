// Selecting a part of the histogram. Continues traces.js, in the same scope.
function select(bar, extend) {
  const asked = address();
  let [least, most] = [Number(bar.dataset.from), bar.dataset.to ? Number(bar.dataset.to) : Infinity];
  if (extend) {
    least = Math.min(least, Number(asked.get("min_duration_ms") ?? least));
    const to = asked.get("max_duration_ms");
    most = Math.max(most, to === null && asked.has("min_duration_ms") ? Infinity : Number(to ?? most));
  } else if (bar.getAttribute("aria-pressed") === "true") [least, most] = [0, Infinity];
  go({
    min_duration_ms: least > 0 ? String(least) : "",
    max_duration_ms: most < Infinity ? String(most) : "",
  });
}

// From one bar of the histogram to another, by dragging.
let dragged = null;
function drag(event) {
  const bar = document.elementFromPoint(event.clientX, event.clientY)?.closest(".ds-histogram [data-from]");
  if (!dragged || !bar) return;
  dragged.last = bar;
  const bars = [...found.querySelectorAll(".ds-histogram [data-from]")];
  const [first, last] = [bars.indexOf(dragged.first), bars.indexOf(bar)].sort((a, b) => a - b);
  bars.forEach((each, at) => each.classList.toggle("dragged", at >= first && at <= last));
}

function drop() {
  const done = dragged;
  dragged = null;
  found.querySelectorAll(".dragged").forEach((each) => each.classList.remove("dragged"));
  if (!done || done.last === done.first) return; // a click
  const ends = [done.first, done.last].sort((a, b) => a.dataset.from - b.dataset.from);
  dropped = true;
  setTimeout(() => { dropped = false; }); // the click that follows
  go({
    min_duration_ms: Number(ends[0].dataset.from) > 0 ? ends[0].dataset.from : "",
    max_duration_ms: ends[1].dataset.to,
  });
}

let dropped = false;
found.addEventListener("pointerdown", (event) => {
  const bar = event.target.closest(".ds-histogram [data-from]");
  if (bar && event.button === 0 && !event.shiftKey) dragged = { first: bar, last: bar };
});
window.addEventListener("pointermove", drag);
window.addEventListener("pointerup", drop);
window.addEventListener("pointercancel", () => { dragged = null; drop(); });

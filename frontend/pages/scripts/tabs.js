// Arrows, Home and End lead from tab to tab, as everywhere else; Gradio's own know only Tab and Enter.
export function start() {
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest?.('[role="tablist"] [role="tab"]');
    if (!tab || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const tabs = [...tab.closest('[role="tablist"]').querySelectorAll('[role="tab"]')];
    const at = tabs.indexOf(tab), count = tabs.length;
    const next = {
      ArrowLeft: (at - 1 + count) % count, ArrowRight: (at + 1) % count, Home: 0, End: count - 1,
    }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    tabs[next].click();
    tabs[next].focus();
  });
}

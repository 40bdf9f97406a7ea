// Before anything is drawn: the language and the theme, so that nothing changes before one's eyes.
// What was chosen with the header's switches is in cookies, which the service reads as well.
(() => {
  // A page is loaded again once in so long: on a slow network a load takes a minute.
  const AGAIN_MS = 300_000;
  const CLICK_MS = 100; // The click of a finger comes so long after it was lifted.
  const root = document.documentElement;
  const read = () => Object.fromEntries(document.cookie.split("; ").map((one) => one.split("=")));
  const cookies = read();
  // Whether it is to be loaded again, when nothing waits: another tab has chosen otherwise, or a part was
  // lost that is not looked at now.
  root.isOutdated = () => {
    const now = read();
    return lost || ["damoscope_language", "damoscope_theme"].some((name) => now[name] !== cookies[name]);
  };
  const known = (value, ...values) => values.find((one) => one === value);
  const speaks = /^zh/i.test(navigator.language) ? "zh" : "en";
  const language = known(cookies.damoscope_language, "en", "zh") ?? speaks;
  // Gradio, and what writes dates, ask the browser. Other languages than ours are English throughout.
  // Of Chinese Gradio knows these two by name.
  const chinese = /^zh-(tw|hk|mo|hant)/i.test(navigator.language) ? "zh-TW" : "zh-CN";
  const spoken = navigator.language.toLowerCase().startsWith("en") ? navigator.language : "en";
  const locale = language === "zh" ? chinese : spoken;
  Object.defineProperty(navigator, "language", { value: locale, configurable: true });
  Object.defineProperty(navigator, "languages", { value: [locale], configurable: true });
  root.dataset.lang = language;
  root.lang = locale;

  // A part of Gradio's scripts that was lost on the way leaves a page without anything on it, for
  // good. https://vite.dev/guide/build#load-error-handling
  // Who goes to another page loses parts of this one, too.
  let leaving = false, lost = false, again = false;
  const filming = '.ds-camera:is([data-state="open"], [data-state="live"])';
  window.addEventListener("beforeunload", () => { leaving = true; });
  window.addEventListener("vite:preloadError", (event) => {
    if (again) return event.preventDefault(); // one of several that are lost
    const now = Date.now();
    if (leaving || now - Number(sessionStorage.getItem("damoscope_lost")) < AGAIN_MS) return;
    sessionStorage.setItem("damoscope_lost", now);
    lost = true;
    if (document.querySelector(filming)) return;
    event.preventDefault();
    again = true;
    location.reload();
  });

  // What is drawn anew while it is pressed gets no click: a place in which something is waits until that
  // is let go. Of what is to be drawn there meanwhile only the last is.
  const later = new Map();
  let pressed = null, lifted = 0;
  root.whenLetGo = (place, draw) => {
    later.delete(place);
    if (pressed && place.contains(pressed)) later.set(place, draw);
    else draw();
  };
  window.addEventListener("pointerdown", (event) => {
    clearTimeout(lifted);
    if (event.button === 0) pressed = event.target;
  }, true);
  const letGo = () => {
    const waiting = [...later.values()];
    pressed = null;
    later.clear();
    for (const draw of waiting) draw();
  };
  for (const end of ["pointerup", "pointercancel", "contextmenu"]) window.addEventListener(end, () => {
    clearTimeout(lifted);
    lifted = setTimeout(letGo, CLICK_MS);
  }, true);

  const ask = window.matchMedia.bind(window);
  const system = root.system = ask("(prefers-color-scheme: dark)");
  const asked = new URLSearchParams(location.search).get("__theme");
  const theme = known(asked, "light", "dark") ?? known(cookies.damoscope_theme, "light", "dark");
  const dark = () => (theme ? theme === "dark" : system.matches);
  const colour = () => { root.style.colorScheme = dark() ? "dark" : "light"; };
  colour();
  system.addEventListener("change", colour);
  if (!theme) return;
  window.matchMedia = (query) => { // by which Gradio's theme follows the system's
    const found = ask(query), about = /^\(prefers-color-scheme:\s*(dark|light)\)$/.exec(query);
    if (about) Object.defineProperty(found, "matches", { value: about[1] === theme });
    return found;
  };
})();

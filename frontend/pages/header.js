// Keeps the header's line about the service fresh while the page is seen.
const line = element.querySelector(".ds-state");
const who = element.querySelector(".ds-who");
const zh = document.documentElement.dataset.lang === "zh";
const ANSWER_MS = 10_000; // A service that stands still holds its connections, and answers nothing.

let asked = 0, shown = 0; // how often it was, and of which question the answer is shown

async function refresh() {
  agree();
  if (document.hidden) return;
  const mine = ++asked, state = await told();
  if (mine < shown) return; // a later question was answered before
  shown = mine;
  if (state) {
    document.documentElement.dataset.roles = state.roles.join(" ");
    who.hidden = !state.session;
    who.firstChild.textContent = state.name;
    line.textContent = state.text;
    line.dataset.ready = state.ready;
    tell({ ready: state.ready, text: state.text, hint: state.hint, known: Boolean(state.name), models: state.models });
  } else {
    line.textContent = zh ? "服务无响应" : "the service does not answer";
    line.dataset.ready = false;
    tell({ ready: false, away: true, text: "", hint: "" });
  }
}

// Null where there is no answer.
async function told() {
  try {
    const answer = await fetch("pages/status", { signal: AbortSignal.timeout(ANSWER_MS) });
    if (answer.status === 401) location.reload(); // the login has ended: the way to a new one
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

// A language or a theme that was chosen stays, in a cookie, which the service reads as well. Where the
// theme is the system's again, it follows the system again.
element.querySelector(".ds-chosen").addEventListener("click", (event) => {
  const name = event.target.closest("[data-choose]")?.dataset.choose;
  if (!name) return;
  const dark = document.documentElement.style.colorScheme === "dark";
  const value = name === "theme" ? (dark ? "light" : "dark") : zh ? "en" : "zh";
  const follows = name === "theme" && document.documentElement.system.matches !== dark;
  const path = new URL("./", document.baseURI).pathname.replace(/(.)\/$/, "$1");
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `damoscope_${name}=${value}; Path=${path}; Max-Age=${follows ? 0 : 31536000}; SameSite=Lax${secure}`;
  const address = new URL(location.href);
  address.searchParams.delete("__theme");
  history.replaceState(history.state, "", address);
  tabs.postMessage(name);
  location.reload();
});

// What was chosen in one tab holds in all: the others load anew, but not while one waits for images or the
// camera is on.
const tabs = new BroadcastChannel("damoscope");
tabs.addEventListener("message", agree);

function agree() {
  const waits = '.ds-busy, .ds-batch[data-done="0"], .ds-camera:is([data-state="open"], [data-state="live"])';
  if (document.documentElement.isOutdated() && !document.querySelector(waits)) location.reload();
}

// The page's base makes another address of `#...`: the way past the header goes by hand.
element.querySelector(".ds-skip").addEventListener("click", (event) => {
  event.preventDefault();
  let header = element; // Gradio may have put it into a box of its own
  while (!header.nextElementSibling) header = header.parentElement;
  const rest = header.nextElementSibling;
  rest.tabIndex = -1;
  rest.focus();
});

// What else on the page depends on the service hears of it here.
function tell(state) {
  document.documentElement.service = state;
  document.dispatchEvent(new CustomEvent("ds-service", { detail: state }));
}
refresh();
setInterval(refresh, 3000);
document.addEventListener("visibilitychange", refresh);
document.addEventListener("ds-look", refresh);

// A row of a table and its box in the image light up together.
for (const moment of ["mouseover", "focusin"]) document.addEventListener(moment, (event) => {
  const part = event.target.closest?.("[data-box]");
  document.querySelectorAll("[data-box].lit").forEach((lit) => lit.classList.remove("lit"));
  const result = part?.closest(".ds-result, .ds-seen");
  result?.querySelectorAll(`[data-box="${part.dataset.box}"]`)
    .forEach((same) => same.classList.add("lit"));
});

// Follows a batch that an event has begun: asks how far it is until all its images are done.
const EVERY_MS = 300;
let following = null;

function leave() {
  if (!following) return;
  following.asking.abort();
  fetch(following.address, { method: "DELETE", keepalive: true }).catch(() => {});
  following = null;
}

async function follow() {
  const view = element.querySelector(".ds-batch");
  leave(); // what went on before is not looked at any more
  if (!view) return;
  const mine = following = { address: `pages/batches/${view.dataset.batch}`, asking: new AbortController() };
  let wait = EVERY_MS;
  while (following === mine) {
    await new Promise((done) => setTimeout(done, wait));
    if (following !== mine) return;
    const seen = view.querySelector(".ds-several").dataset.seen;
    try {
      const answer = await fetch(`${mine.address}?seen=${seen}`, { signal: mine.asking.signal });
      if (answer.status === 404) following = null; // the service knows it no longer
      if (answer.status === 200) {
        view.innerHTML = await answer.text();
        if (view.querySelector('[data-done="1"]')) following = null;
      }
      wait = EVERY_MS;
    } catch {
      wait = Math.min(2 * wait, 5000); // the service does not answer; it may again
    }
  }
}

watch("value", follow);
addEventListener("pagehide", leave);

// What the service keeps under an address: asked for until it answers.
import { text } from "./texts.js";

export const ANSWER_MS = 10_000; // after which an answer is no longer waited for
const RETRY_MS = 500, PATIENCE_MS = 60_000;

// The HTML of a result, or of several; "" where it is kept no longer, null once nobody wants it. An
// image that is still worked on is waited for, and so is a service that is away for a moment; where
// nothing comes of that, what to say of it is thrown.
export async function kept(address, wanted) {
  const until = performance.now() + PATIENCE_MS;
  while (wanted()) {
    const answer = await fetch(address, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => null);
    const html = answer?.status === 200 ? await answer.text().catch(() => "") : "";
    if (!wanted()) break;
    if (html) return html;
    if (answer?.status === 401) throw new Error(text("detect.lost.login"));
    if (answer && ![200, 202, 429].includes(answer.status) && answer.status < 500) return "";
    if (performance.now() > until) throw new Error(text("detect.unread"));
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
  return null;
}

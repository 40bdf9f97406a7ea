// Sends one frame after another to the API, never two at once, and goes by what it answers.
const ANSWER_S = 10, LOST_MS = 20_000; // when the service gives a frame up, and when this does
const LONGEST_S = 300, UNTOLD_S = 2, AWAY_S = [1, 2, 4, 8];
const REFUSED = 3; // frames in a row, before it is said that the service takes none
const UNSEEN = 3; // waits for a frame in a row, before it is said that none comes
const RECENT_MS = 3000; // over which frames a second are counted
const WIDTH = Math.log(1.01); // durations are kept to 1 %

export class Live {
  // `next` waits for a frame, until a signal says that it is over: { blob, width, height } or null.
  // `query` says what is asked for now. `hear` is told: `answered(frame, result, ms)`,
  // `missed(status, trace, ms)`, `note(key, values)`, and `ended(key, values)` where going on is no use.
  constructor(next, query, hear) {
    Object.assign(this, { next, query, hear });
    this.over = new AbortController();
  }

  stop() {
    this.over.abort(); // a frame that is worked on is withdrawn
  }

  async run() {
    const { signal } = this.over;
    for (let failures = 0, refused = 0, unseen = 0; !signal.aborted;) {
      if (document.hidden) {
        unseen = 0;
        this.hear.note("camera.hidden");
        await event(document, "visibilitychange", signal);
        this.hear.note("");
        continue;
      }
      const frame = await this.next(signal);
      if (signal.aborted || document.hidden) continue;
      if (!frame) { // another program has it, or it is asleep: it may come back
        if (++unseen >= UNSEEN) this.hear.note("camera.unseen");
        continue;
      }
      if (unseen) this.hear.note("");
      unseen = 0;
      const began = performance.now(), answer = await this.send(frame.blob);
      if (signal.aborted) return;
      const ms = performance.now() - began;
      if (answer.status === 200) {
        failures = refused = 0;
        this.hear.answered(frame, answer.body, ms);
        continue;
      }
      this.hear.missed(answer.status, answer.trace, ms);
      const end = ending(answer);
      refused = end ? refused + 1 : 0;
      // One frame may have been cut short on its way, and a proxy that starts knows no address yet.
      if (end && (refused === REFUSED || FINAL.includes(answer.status))) return this.hear.ended(...end);
      const [key, seconds] = pause(answer, failures++);
      if (key === "camera.away") document.dispatchEvent(new CustomEvent("ds-look"));
      for (let left = seconds; left > 0 && !signal.aborted; left--) {
        this.hear.note(key, { seconds: left });
        await time(1000, signal);
      }
      this.hear.note("");
    }
  }

  async send(blob) {
    const mine = new AbortController(), give = () => mine.abort();
    const limit = setTimeout(give, LOST_MS);
    this.over.signal.addEventListener("abort", give);
    const query = new URLSearchParams({ ...this.query(), timeout: ANSWER_S });
    try {
      const answer = await fetch(`api/v1/detect?${query}`, {
        method: "POST",
        headers: { "content-type": "image/jpeg" },
        body: blob,
        signal: mine.signal,
      });
      const body = await answer.json().catch(() => null); // a proxy's own errors are no JSON
      // What says yes to everything is no service: a network that wants a login first, for one.
      if (mine.signal.aborted || (answer.ok && !body?.detections)) throw new Error("no result");
      const { headers, status } = answer;
      return { status, body, trace: headers.get("x-trace-id"), retry: headers.get("retry-after") };
    } catch {
      return { status: mine.signal.aborted ? 408 : 0, body: null, trace: null, retry: null };
    } finally {
      clearTimeout(limit);
      this.over.signal.removeEventListener("abort", give);
    }
  }
}

// Of whose next frame it is known that the answer is the same.
const FINAL = [401, 403];

// Why there is no use in another frame; nothing where there may be.
function ending({ status, body }) {
  if (status === 401) return ["camera.login", {}];
  if (status === 403) return ["camera.forbidden", {}];
  if (status < 400 || status >= 500 || [408, 409, 425, 429].includes(status)) return null;
  return ["camera.refused", { why: body?.detail ?? status }];
}

// What to say, and for how many seconds nothing is sent: as long as was asked.
function pause({ status, retry }, failures) {
  const asked = Number(retry) || (Date.parse(retry) - Date.now()) / 1000;
  const told = Math.min(LONGEST_S, Math.max(1, Math.ceil(asked || UNTOLD_S)));
  if (status === 429) return ["camera.many", told];
  if (status === 503) return ["camera.unavailable", told];
  if (status === 0) return ["camera.away", AWAY_S[Math.min(failures, AWAY_S.length - 1)]];
  if ([408, 409, 504].includes(status)) return ["camera.late", 1];
  return ["camera.failed", told];
}

// The figures of a session, however long it is.
export class Figures {
  constructor() {
    [this.frames, this.errors, this.latency, this.recent] = [0, 0, null, []];
    this.counts = new Map();
  }

  add(ms, now) {
    this.frames += 1;
    this.latency = ms;
    this.recent.push(now);
    const bucket = Math.round(Math.log(Math.max(ms, 0.01)) / WIDTH);
    this.counts.set(bucket, (this.counts.get(bucket) ?? 0) + 1);
  }

  // Frames a second by the answers of the last seconds; null while there are too few.
  rate(now) {
    while (this.recent.length && this.recent[0] < now - RECENT_MS) this.recent.shift();
    const [first] = this.recent, count = this.recent.length;
    return count > 1 ? ((count - 1) * 1000) / Math.max(1, now - first) : null;
  }

  quantile(part) {
    let left = Math.ceil(part * this.frames);
    for (const bucket of [...this.counts.keys()].sort((a, b) => a - b)) {
      left -= this.counts.get(bucket);
      if (left <= 0) return Math.exp(bucket * WIDTH);
    }
    return null;
  }
}

// Both are over at once when the signal is given.
export function event(target, name, signal) {
  return settled(signal, (done, own) => target.addEventListener(name, done, { signal: own }));
}

export function time(ms, signal) {
  return settled(signal, (done, own) => {
    const timer = setTimeout(done, ms);
    own.addEventListener("abort", () => clearTimeout(timer));
  });
}

function settled(signal, wait) {
  const own = new AbortController();
  return new Promise((done) => {
    if (signal.aborted) return done();
    signal.addEventListener("abort", done, { signal: own.signal });
    wait(done, own.signal);
  }).finally(() => own.abort());
}

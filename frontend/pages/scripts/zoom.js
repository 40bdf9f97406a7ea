// Zoom and pan of a picture in its frame. What lies over the picture is placed in parts of it, so
// that lines and letters keep their size at any zoom.
const STEP = 1.5, PIXEL = 8; // one step; and as how many pixels of the screen one is shown at most
const SLACK = 3; // pixels that a click may move by
const MOVE = 0.15; // part of the frame that an arrow key moves by

export class Zoom {
  // `frame` shows a part of `layer`; `moved` is called whenever it is another part.
  constructor(frame, layer, width, moved) {
    Object.assign(this, { frame, layer, width, moved });
    [this.z, this.x, this.y] = [1, 0.5, 0.5]; // how much, and what is in the middle
    this.pointers = new Map();
    this.closed = new AbortController();
    this.hear("wheel", (event) => this.wheel(event));
    this.hear("dblclick", (event) => {
      const full = this.z >= this.most() - 0.01;
      this.at(full ? 1 / this.z : 2, ...this.place(event));
    });
    this.hear("keydown", (event) => this.key(event));
    this.hear("pointerdown", (event) => this.down(event));
    this.hear("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) {
      this.hear(end, (event) => this.pointers.delete(event.pointerId));
    }
    this.sizes = new ResizeObserver(() => this.moved());
    this.sizes.observe(frame);
  }

  hear(kind, act) {
    this.frame.addEventListener(kind, act, { passive: false, signal: this.closed.signal });
  }

  close() {
    this.closed.abort();
    this.sizes.disconnect();
    this.frame.classList.remove("zoomed");
  }

  most() {
    return Math.max(4, (PIXEL * this.width) / (this.frame.clientWidth || this.width));
  }

  // Where in the frame something happened: 0 to 1 each way.
  place(event) {
    const frame = this.frame.getBoundingClientRect();
    return [
      (event.clientX - frame.left) / (frame.width || 1),
      (event.clientY - frame.top) / (frame.height || 1),
    ];
  }

  // Zoom by a factor, with a point of the frame staying where it is.
  at(factor, px = 0.5, py = 0.5) {
    const z = Math.min(this.most(), Math.max(1, this.z * factor));
    this.to(z, this.x + (px - 0.5) * (1 / this.z - 1 / z), this.y + (py - 0.5) * (1 / this.z - 1 / z));
  }

  step(inwards) {
    this.at(inwards ? STEP : 1 / STEP);
  }

  whole() {
    this.to(1, 0.5, 0.5);
  }

  // Show a part of the picture, given by its corners from 0 to 1, with as much again around it.
  part(left, top, right, bottom) {
    const z = Math.min(this.most(), Math.max(1, 0.5 / Math.max(right - left, bottom - top, 1e-6)));
    this.to(z, (left + right) / 2, (top + bottom) / 2);
  }

  to(z, x, y) {
    const within = (value) => Math.min(1 - 0.5 / z, Math.max(0.5 / z, value));
    [this.z, this.x, this.y] = [z, within(x), within(y)];
    Object.assign(this.layer.style, {
      width: `${100 * z}%`,
      height: `${100 * z}%`,
      left: `${100 * (0.5 - this.x * z)}%`,
      top: `${100 * (0.5 - this.y * z)}%`,
    });
    this.frame.classList.toggle("zoomed", z > 1);
    this.moved();
  }

  // The wheel scrolls the page, until one has clicked into the picture, or pinches a touchpad.
  wheel(event) {
    const meant = event.ctrlKey || event.metaKey || this.z > 1 || this.frame === document.activeElement;
    if (!meant || (event.deltaY > 0 && this.z === 1 && !event.ctrlKey)) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    this.at(Math.exp((-event.deltaY * lines) / (event.ctrlKey ? 100 : 400)), ...this.place(event));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = MOVE / this.z;
    const moves = { ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, -by], ArrowDown: [0, by] };
    if (event.key === "+" || event.key === "=") this.step(true);
    else if (event.key === "-") this.step(false);
    else if (event.key === "0" || (event.key === "Escape" && this.z > 1)) this.whole();
    else if (event.key in moves && this.z > 1) {
      this.to(this.z, this.x + moves[event.key][0], this.y + moves[event.key][1]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  down(event) {
    if (event.button) return;
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    // Not before it moves: what is captured is no click on what is beneath.
    if (!this.frame.hasPointerCapture(event.pointerId)) {
      if (Math.hypot(now[0] - before[0], now[1] - before[1]) < SLACK) return;
      this.frame.setPointerCapture(event.pointerId);
    }
    const size = this.frame.getBoundingClientRect();
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    this.pointers.set(event.pointerId, now);
    const share = others.length ? 0.5 : 1; // of two fingers, each moves the middle by half
    const dx = (share * (now[0] - before[0])) / (size.width * this.z);
    const dy = (share * (now[1] - before[1])) / (size.height * this.z);
    if (this.z > 1) this.to(this.z, this.x - dx, this.y - dy);
    if (others.length === 1) {
      const other = others[0][1];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      const middle = { clientX: (now[0] + other[0]) / 2, clientY: (now[1] + other[1]) / 2 };
      this.at(apart(now) / apart(before), ...this.place(middle));
    }
  }
}

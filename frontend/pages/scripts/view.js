// One result: its boxes, its table, its labels and its files, all by the same threshold.
import { fill } from "./texts.js";
import { Zoom } from "./zoom.js";

//: Labels that are written at once, the best first: weak ones by the dozen would hide the image.
const WRITTEN = 24;
//: Boxes that a run brings at most; seconds that it may take in tiles, here and by the copied command.
const MOST = 500, PATIENCE_S = 300;
//: Height of a label over its box, in pixels.
const LABEL = 20;

export class View {
  // `root` is a `.ds-result` as the service has written it; `close` this before it goes.
  constructor(root) {
    this.root = root;
    this.shown = JSON.parse(root.dataset.shown);
    this.texts = JSON.parse(root.dataset.texts);
    this.boxes = [];
    const frame = this.find(".ds-view");
    this.zoom = new Zoom(frame, this.find(".ds-layer"), this.shown.width, () => this.label());
    this.closed = new AbortController();
    const { signal } = this.closed;
    root.addEventListener("click", (event) => this.click(event), { signal });
    root.addEventListener("dblclick", (event) => this.look(event.target.closest("tr[data-box]")), { signal });
    root.addEventListener("keydown", (event) => this.key(event), { signal });
    const image = this.find("img");
    image.addEventListener("error", () => this.smaller(image), { signal });
    if (image.complete && !image.naturalWidth) this.smaller(image);
  }

  // In place of the picture, where it is kept no longer or is not for this browser: the one that is
  // kept with the trace, for who may see that.
  smaller(image) {
    const { trace, job } = this.shown, address = `api/v1/traces/${trace}/images/${job}`;
    if (image.getAttribute("src") !== address) image.src = address;
  }

  close() {
    this.closed.abort();
    this.zoom.close();
  }

  find(selector) {
    return this.root.querySelector(selector);
  }

  // Show what scores so much or more, without some labels, and of that so many of the best.
  show(score, hidden, most = Infinity) {
    const { labels, boxes } = this.shown;
    [this.score, this.hidden, this.most] = [score, hidden, most];
    const reached = boxes.filter((box) => box[1] >= score);
    const wanted = reached.filter((box) => !hidden.has(labels[box[0]][0]));
    const found = wanted.slice(0, most);
    this.found = found.length;
    this.count(found, wanted.length);
    this.choose(reached);
    this.draw(found);
    this.list(found);
    this.offer();
    return this.found;
  }

  count(found, all) {
    const key = { 0: "found.none", 1: "found.one" }[found.length] ?? "found";
    const title = fill(this.texts[key], { count: found.length });
    if (this.find("h2").textContent !== title) this.find("h2").textContent = title;
    const nothing = this.find(".ds-nothing"), cut = this.find(".ds-cut");
    nothing.hidden = found.length > 0;
    nothing.textContent = fill(this.texts["found.none.hint"], { score: this.score.toFixed(2) });
    const { boxes, lowest } = this.shown;
    const fewer = found.length < all;
    cut.hidden = !fewer && !(this.shown.cut && this.score < lowest);
    cut.textContent = fewer
      ? fill(this.texts["detect.fewer"], { most: found.length, count: all })
      : fill(this.texts["detect.cut"], { count: boxes.length, score: lowest.toFixed(2) });
  }

  // The labels as buttons that leave one out, where there are several.
  choose(reached) {
    const place = this.find(".ds-labels"), { labels } = this.shown;
    place.hidden = labels.length < 2;
    if (place.hidden) return;
    if (!place.firstChild) {
      place.append(...labels.map(([name, colour], index) => {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", value: index });
        button.style.setProperty("--hue", colour);
        button.append(document.createElement("i"), name, document.createElement("b"));
        return button;
      }));
    }
    [...place.children].forEach((button, index) => {
      button.setAttribute("aria-pressed", !this.hidden.has(labels[index][0]));
      button.lastChild.textContent = reached.filter((box) => box[0] === index).length;
    });
  }

  draw(found) {
    const { labels, width, height } = this.shown;
    this.boxes = found.map((box, index) => {
      const [label, score, x1, y1, x2, y2] = box;
      const [name, colour] = labels[label];
      const shape = document.createElement("div");
      shape.className = "ds-box";
      shape.dataset.box = index;
      shape.style.cssText = `left:${(100 * x1) / width}%;top:${(100 * y1) / height}%;` +
        `width:${(100 * (x2 - x1)) / width}%;height:${(100 * (y2 - y1)) / height}%;` +
        `--hue:${colour};z-index:${found.length - index}`;
      const tag = document.createElement("em");
      tag.textContent = `${name} ${score.toFixed(2)}`;
      shape.append(tag);
      return { shape, tag, place: [x1 / width, y1 / height, x2 / width, y2 / height] };
    });
    this.find(".ds-boxes").replaceChildren(...this.boxes.map((box) => box.shape));
    this.label();
  }

  // Each label stands above its box, or within it where the frame ends; of those in sight.
  label() {
    const { z, x, y, frame } = this.zoom ?? {};
    if (!frame) return;
    const wide = frame.clientWidth, high = frame.clientHeight;
    let room = WRITTEN;
    for (const { shape, tag, place } of this.boxes) {
      const [left, right] = [place[0], place[2]].map((at) => ((at - x) * z + 0.5) * wide);
      const [top, bottom] = [place[1], place[3]].map((at) => ((at - y) * z + 0.5) * high);
      const seen = right > 0 && left < wide && bottom > 0 && top < high;
      shape.classList.toggle("mute", !seen || room <= 0);
      if (!seen) continue;
      room -= 1;
      shape.classList.toggle("inside", top < LABEL);
      shape.classList.toggle("right", left > 0.7 * wide);
      tag.style.marginTop = top < 0 ? `${-top}px` : "";
      tag.style.marginLeft = left < 0 ? `${-left}px` : "";
      tag.style.marginRight = right > wide ? `${right - wide}px` : "";
    }
  }

  list(found) {
    const { labels } = this.shown;
    const rows = found.map((box, index) => {
      const [name, colour] = labels[box[0]];
      const row = document.createElement("tr");
      row.dataset.box = index;
      row.tabIndex = index ? -1 : 0; // one stop for the keyboard; arrows go on from there
      const cells = [name, box[1].toFixed(3), ...box.slice(2).map((at) => at.toFixed(0))];
      row.append(...cells.map((value) => {
        const cell = document.createElement("td");
        cell.textContent = value;
        return cell;
      }));
      const mark = document.createElement("i");
      mark.style.background = colour;
      row.firstChild.prepend(mark);
      return row;
    });
    this.find("tbody").replaceChildren(...rows);
    this.find(".ds-table").hidden = !rows.length;
  }

  // Files hold what is shown.
  offer() {
    const query = new URLSearchParams({ score: this.score });
    for (const label of this.hidden) query.append("hide", label);
    if (this.most < MOST) query.set("most", this.most);
    this.root.querySelectorAll("a[data-file]").forEach((link) => {
      link.href = `${link.getAttribute("href").split("?")[0]}?${query}`;
    });
  }

  outdated(line) {
    const place = this.find(".ds-outdated");
    place.hidden = !line;
    place.textContent = line;
    this.root.classList.toggle("outdated", Boolean(line));
  }

  // That small objects may have been missed, and whether the page can look again.
  hint(line, may) {
    const place = this.find(".ds-hint");
    place.hidden = !line;
    place.querySelector("span").textContent = line;
    place.querySelector("button").hidden = !may;
  }

  click(event) {
    const zoom = event.target.closest("[data-zoom]"), copy = event.target.closest("[data-copy]");
    const label = event.target.closest(".ds-labels button"), box = event.target.closest(".ds-box");
    if (zoom?.dataset.zoom === "whole") this.zoom.whole();
    else if (zoom) this.zoom.step(zoom.dataset.zoom === "in");
    else if (copy) this.copy(copy);
    else if (label) {
      const name = this.shown.labels[label.value][0], hidden = new Set(this.hidden);
      if (!hidden.delete(name)) hidden.add(name);
      this.root.dispatchEvent(new CustomEvent("ds-labels", { bubbles: true, detail: hidden }));
    } else if (box) {
      this.find(`tr[data-box="${box.dataset.box}"]`)?.scrollIntoView({ block: "nearest" });
    }
  }

  key(event) {
    const row = event.target.closest("tr[data-box]");
    if (!row) return;
    const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling,
      Home: row.parentElement.firstChild, End: row.parentElement.lastChild }[event.key];
    if (event.key === "Enter") this.look(row);
    else if (next) {
      row.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    } else return;
    event.preventDefault();
  }

  // Bring the box of a row near.
  look(row) {
    if (row) this.zoom.part(...this.boxes[row.dataset.box].place);
  }

  // The address under which this is seen, with what is chosen where the run had it otherwise.
  query() {
    const asked = new URLSearchParams({ result: this.shown.job });
    if (this.score !== this.shown.score) asked.set("score", this.score);
    if (this.shown.tiles) asked.set("tiles", this.shown.tiles);
    if (this.shown.model) asked.set("model", this.shown.model);
    if (this.most < MOST) asked.set("most", this.most);
    for (const label of this.hidden) {
      if (this.shown.labels.some(([name]) => name === label)) asked.append("hide", label);
    }
    return asked;
  }

  async copy(button) {
    const what = button.dataset.copy === "curl" ? this.curl() : new URL(`./?${this.query()}`, document.baseURI);
    const done = await toClipboard(String(what));
    const said = button.textContent;
    button.textContent = this.texts[done ? "detect.copied" : "detect.copy.failed"];
    button.disabled = true;
    setTimeout(() => Object.assign(button, { textContent: said, disabled: false }), 1500);
  }

  // The same by the API.
  curl() {
    const { file, iou, labels, tiles, model } = this.shown;
    const query = new URLSearchParams({ score_threshold: this.score });
    if (iou !== null) query.set("iou_threshold", iou);
    query.set("max_detections", Math.min(this.most, MOST));
    if (model) query.set("model", model);
    if (tiles) query.set("tiles", tiles);
    if (tiles) query.set("timeout", PATIENCE_S);
    const wanted = labels.map(([label]) => label).filter((label) => !this.hidden.has(label));
    if (wanted.length && wanted.length < labels.length) query.set("labels", wanted.join(","));
    const address = new URL(`./api/v1/detect?${query}`, document.baseURI);
    const key = document.documentElement.service?.known
      ? ' -H "Authorization: Bearer $DAMOSCOPE_KEY"' : "";
    const path = (file || "image.jpg").replace(/[\\"]/g, "\\$&");
    return `curl${key} -F ${quoted(`image=@"${path}"`)} ${quoted(String(address))}`;
  }
}

// For a shell.
function quoted(value) {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

async function toClipboard(value) {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch { // not over plain http, unless from this very machine
    const field = document.createElement("textarea");
    field.value = value;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

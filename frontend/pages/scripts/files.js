// Files that are dropped or pasted anywhere on the page, folders too.
import { put } from "./given.js";
import { failure, text, waiting } from "./texts.js";

//: Folders within folders, and names read at all: a disk that is dropped ends somewhere.
const DEPTH = 20, LOOKED = 20_000;
const IMAGES = /\.(jpe?g|png|webp|bmp|gif|tiff?)$/i;
const REASONS = new Set([413, 429, 503]); // statuses of which one can say more
const isImage = (file) => file.type.startsWith("image/") || IMAGES.test(file.name);

let sending = null, gradios = null;

export function start() {
  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (!pasted.length) return; // text, which belongs to whatever field it goes to
    event.preventDefault();
    take(pasted);
  });
  hearGradio();
  document.addEventListener("change", (event) => {
    if (event.target.matches?.("input[type=file]")) say("");
    const folder = event.target.closest?.(".ds-folder input");
    if (folder) chosen(folder);
  });
  // What was chosen before anybody listened.
  for (const folder of document.querySelectorAll(".ds-folder input")) chosen(folder);
  hearAddresses();
  // Before Gradio's own inputs see it: they take no folder, and nothing where an image is already.
  const drop = { capture: true };
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      const within = kind !== "drop" && !(kind === "dragleave" && !event.relatedTarget);
      document.body.classList.toggle("ds-dropping", within);
      if (kind === "drop") dropped(contents(event.dataTransfer));
    }, drop);
  }
  const early = document.early?.();
  document.early = false; // from here on it is heard here
  if (early) dropped(early);
}

// A picture or a link that is dragged here from another page, as its address.
function hearAddresses() {
  let own = false; // what is dragged from this very page
  addEventListener("dragstart", () => { own = true; });
  addEventListener("dragend", () => { own = false; });
  const kept = (event) => {
    const types = event.dataTransfer?.types ?? [], into = event.target.closest?.("input, textarea");
    return !own && !into && types.includes("text/uri-list") && !types.includes("Files");
  };
  for (const kind of ["dragenter", "dragover"]) {
    addEventListener(kind, (event) => { if (kept(event)) event.preventDefault(); }, { capture: true });
  }
  addEventListener("drop", (event) => {
    if (!kept(event)) return;
    event.preventDefault();
    event.stopPropagation();
    const lines = event.dataTransfer.getData("text/uri-list").split(/\r?\n/);
    offer(lines.find((line) => line && !line.startsWith("#")) ?? "");
  }, { capture: true });
}

// The service may fetch it, once somebody has seen what it is.
async function offer(address) {
  const field = document.querySelector(".ds-address input");
  if (!/^https?:/.test(address) || !field) return say(text("detect.no_address"));
  say("");
  document.querySelector('.ds-tabs [role="tab"]')?.click();
  field.value = address.slice(0, field.maxLength);
  // Its tab may only just be opening.
  for (let tries = 0; tries < 1200 && !field.offsetParent; tries++) await new Promise((done) => setTimeout(done, 50));
  field.focus();
}

// What is in it is known only now, before anything is waited for.
function contents({ items, files }) {
  return { files: [...files], entries: [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean) };
}

async function dropped({ files, entries }) {
  if (!entries.some((entry) => entry.isDirectory)) return take(files);
  const found = [], looked = { left: LOOKED };
  for (const entry of entries) await walk(entry, found, looked, DEPTH);
  found.sort((a, b) => a.path.localeCompare(b.path, undefined, { numeric: true }));
  takeFolder(found.map((each) => each.file));
}

async function walk(entry, found, looked, depth) {
  if (looked.left-- <= 0 || depth < 0) return;
  if (entry.isFile) {
    const file = await new Promise((done) => entry.file(done, () => done(null)));
    if (file && isImage(file)) found.push({ path: entry.fullPath, file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((done) => reader.readEntries(done, () => done([])));
    if (!some.length) return; // it tells a hundred at a time
    for (const one of some) await walk(one, found, looked, depth - 1);
  }
}

function chosen(folder) {
  if (!folder.files.length) return;
  takeFolder([...folder.files]);
  folder.value = "";
}

// A folder's images; what else lies there was not meant.
function takeFolder(files) {
  const path = (file) => file.webkitRelativePath || file.name;
  const images = files.filter(isImage);
  // A folder that was dropped is in order already; one that was chosen comes as the disk has it.
  if (images[0]?.webkitRelativePath) {
    images.sort((a, b) => path(a).localeCompare(path(b), undefined, { numeric: true }));
  }
  if (images.length) take(images, true);
  else say(text("detect.no_image"));
}

export function take(files, many = files.length > 1) {
  const tabs = document.querySelectorAll('.ds-tabs [role="tab"]');
  const several = tabs[1]?.getAttribute("aria-selected") === "true";
  if (!several) tabs[many ? 1 : 0]?.click();
  const most = Number(document.querySelector(".ds-notices").dataset.most);
  const note = files.length > most ? text("detect.too_many", { count: files.length, most }) : "";
  send(files.slice(0, most), many || several ? "given-several" : "given", note);
}

// The service fetches it: the browser itself may load nothing from elsewhere.
export async function fetched(url) {
  if (!url) return;
  sending?.abort();
  const mine = (sending = new AbortController());
  say("");
  waiting(text("detect.fetching", { name: url.length > 60 ? `${url.slice(0, 60)}…` : url }));
  try {
    const answer = await fetch("pages/address", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ url }),
      signal: mine.signal,
    });
    if (sending !== mine) return;
    if (!answer.ok) return refused(reason(answer.status));
    const { id, name, size } = await answer.json();
    if (sending !== mine) return;
    sending = null;
    waiting("");
    put("given", described(id, { name, size, type: "" }));
  } catch {
    if (sending === mine) refused(reason(0));
  }
}

function reason(status) {
  return text(`detect.uploading.${REASONS.has(status) ? status : "other"}`);
}

function say(line) {
  const place = document.querySelector(".ds-notices");
  place.querySelector(".ds-said")?.remove();
  if (!line) return;
  const shown = failure(line);
  shown.classList.add("ds-said");
  place.append(shown);
}

// One request, as Gradio sends it: the images of a folder are kept until they are run.
function send(files, to, note) {
  sending?.abort();
  const body = new FormData(), request = (sending = new XMLHttpRequest());
  for (const file of files) body.append("files", file, file.name);
  const line = files.length === 1
    ? text("detect.uploading", { name: files[0].name })
    : text("detect.uploading.many", { count: files.length });
  waiting(line);
  request.upload.addEventListener("progress", (event) => {
    if (event.lengthComputable) waiting(line, `${Math.floor((100 * event.loaded) / event.total)} %`);
  });
  request.addEventListener("abort", () => waiting(""));
  request.addEventListener("error", () => refused(text("detect.uploading.other")));
  request.addEventListener("load", () => {
    waiting("");
    sending = null;
    if (request.status !== 200) return refused(reason(request.status));
    say(note);
    const stored = JSON.parse(request.responseText).map((id, index) => described(id, files[index]));
    put(to, to === "given" ? stored[0] : stored);
    // Gradio's own input tells of what a person has chosen there, and not of this.
    const ids = stored.map((file) => file.path);
    if (to === "given") return;
    const detail = { ids, come: true };
    (document.told ??= {})["ds-photos"] = detail;
    document.dispatchEvent(new CustomEvent("ds-photos", { detail }));
  });
  request.open("POST", new URL("gradio_api/upload", document.baseURI));
  request.send(body);
}

function refused(why) {
  sending = null;
  waiting("");
  document.dispatchEvent(new CustomEvent("ds-look"));
  say(why);
}

function described(id, file) {
  return {
    path: id,
    url: `gradio_api/file=${id}`,
    orig_name: file.name,
    size: file.size,
    mime_type: file.type,
    is_stream: false,
    meta: { _type: "gradio.FileData" },
  };
}

// Gradio tells in English alone that a file chosen in its own inputs did not arrive, and tells of nothing else
// here: its note is not shown (style.css), and said in the page's language.
function hearGradio() {
  new MutationObserver(() => {
    const told = document.querySelector("[data-testid=toast-body]");
    if (told && told !== gradios) refused(text("detect.uploading.other"));
    gradios = told;
  }).observe(document.body, { childList: true, subtree: true });
}

// What is pasted or dropped before files.js listens: the last of it is kept until then. A browser would go to
// the image itself instead.
if (document.early === false) return; // it listens already
const over = new AbortController(), first = { capture: true, signal: over.signal };
let given = document.early?.() ?? null; // Gradio may draw this anew
document.early = () => {
  over.abort();
  return given;
};
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  given = { files, entries: [] };
}, first);
for (const kind of ["dragenter", "dragover", "drop"]) addEventListener(kind, (event) => {
  const { types, files, items } = event.dataTransfer ?? {};
  if (!types?.includes("Files")) return;
  event.preventDefault();
  event.stopPropagation();
  if (kind !== "drop") return;
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // known only now
  given = { files: [...files], entries };
}, first);

// Comparing: some images with the others, or one trace with another, in the place of a trace.
// Continues traces.js, in the same scope.
let picking = null; // the trace that another is to be chosen for

// Where what the address wants compared is to be had; null where it wants nothing compared.
function compared(asked) {
  const [id, other] = [asked.get("trace"), asked.get("with")];
  if (id && other) return `pages/traces/${encodeURIComponent(id)}/compare/${encodeURIComponent(other)}`;
  if (id || !asked.has("compare")) return null;
  const query = question();
  query.delete("order");
  return `pages/traces/compare?${query}`;
}

async function compare(path) {
  opening?.abort();
  opening = null;
  shown = path;
  beside(true);
  mark();
  detail.innerHTML = "";
  detail.setAttribute("aria-busy", "true");
  const html = await ask("compare", path);
  if (shown !== path) return;
  detail.removeAttribute("aria-busy");
  if (html !== null) detail.innerHTML = html;
}

function pick(id) {
  picking = id;
  page.classList.toggle("picking", Boolean(id));
  const note = page.querySelector(".ds-pick");
  note.hidden = !id;
  if (id) note.querySelector("button").focus();
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-compare], [data-pick], [data-unpick]");
  if (!button) return;
  event.preventDefault();
  if (button.hasAttribute("data-compare")) go({ compare: "1", trace: "", with: "" });
  else pick(button.dataset.pick ?? null);
});

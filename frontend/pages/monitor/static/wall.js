// The page on a wall: dark, large, without controls. Escape leaves it.
let dark = null; // what the page was before

export function wall(page, on) {
  const was = page.classList.contains("wall");
  if (on === was) return;
  page.classList.toggle("wall", on);
  document.documentElement.classList.toggle("ds-wall", on);
  if (on) {
    dark = document.body.classList.contains("dark");
    document.body.classList.add("dark");
    document.addEventListener("keydown", leave);
  } else {
    document.body.classList.toggle("dark", dark);
    document.removeEventListener("keydown", leave);
  }
}

function leave(event) {
  if (event.key !== "Escape") return;
  const address = new URL(location.href);
  address.searchParams.delete("wall");
  history.pushState(null, "", address);
  window.dispatchEvent(new PopStateEvent("popstate"));
}

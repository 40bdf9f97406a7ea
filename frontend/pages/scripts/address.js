// The field in which an image's address is typed.
import { fetched } from "./files.js";

export function start(element) {
  const form = element.querySelector("form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    fetched(form.elements.url.value.trim());
  });
  form.inert = false; // until now nobody listened
}

// A click on an example chooses it.
element.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-example]");
  if (!chosen) return;
  props.value = chosen.dataset.example;
  trigger("click");
});

// What is dropped or pasted takes the place of what a person would have chosen.
const places = {};

export function start(element, api) {
  places[element.parentElement.closest("[id]").id] = api; // its own id is Gradio's
}

// Put files, as the service knows them, into an input of the page; its tab may only just be opening.
export async function put(place, files) {
  while (!places[place]) await new Promise((done) => setTimeout(done, 50));
  places[place].props.value = JSON.stringify(files);
  places[place].trigger("submit");
}

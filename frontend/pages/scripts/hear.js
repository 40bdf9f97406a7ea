// Hears what the page's inputs tell, also what they told before this script was there.
export function hear(name, act) {
  document.addEventListener(name, (event) => act(event.detail));
  const earlier = document.told?.[name];
  if (earlier !== undefined) act(earlier);
}

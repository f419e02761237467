/** Print the page when all of its texts are there: long ones come in steps. */
export function printed(): void {
  requestAnimationFrame(() => (document.querySelector("#messages .text[aria-busy]") ? printed() : window.print()));
}

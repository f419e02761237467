/** As a `ref`: it has the focus when it comes. The attribute `autofocus` is of use once a page. */
export function focused(element: HTMLElement | null): void {
  element?.focus();
}

/** Into the box, from what is about to go: the focus would go with it. On a touch screen that would bring up the keyboard. */
export function focusBox(): void {
  if (matchMedia("(pointer: fine)").matches) document.getElementById("text")?.focus();
}

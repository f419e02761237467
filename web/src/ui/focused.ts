/** As a `ref`: it has the focus when it comes. The attribute `autofocus` is of use once a page. */
export function focused(element: HTMLElement | null): void {
  element?.focus();
}

/** As a `ref`: it has the focus when it comes in the place of what had it. */
export function takesOver(element: HTMLElement | null): void {
  if (document.activeElement === document.body) element?.focus();
}

/** Into the box, from what is about to go: the focus would go with it. On a touch screen that would bring up the keyboard. */
export function focusBox(): void {
  if (matchMedia("(pointer: fine)").matches) document.getElementById("text")?.focus();
}

/** As a `ref`: it has the focus when it comes. The attribute `autofocus` is of use once a page. */
export function focused(element: HTMLElement | null): void {
  element?.focus();
}

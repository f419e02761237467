/** Print the page when so many messages are drawn, and their texts whole: long ones come in steps. */
export function printWhen(count: number): void {
  const drawn = document.querySelectorAll("#messages [data-message-id]").length >= count && !document.querySelector("#messages .text[aria-busy]");
  if (drawn) window.print();
  else requestAnimationFrame(() => printWhen(count));
}

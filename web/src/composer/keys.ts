/** While an input method composes a character its keys are its own: Safari tells so by the key code alone. */
export const isComposing = (event: KeyboardEvent): boolean => event.isComposing || event.keyCode === 229;

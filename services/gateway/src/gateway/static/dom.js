// Building the page. Whatever a person, a model or a tool wrote gets into it as text alone, never as markup.

export function element(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/** Write only what is different: what is written anew loses a selection, and is read aloud again. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

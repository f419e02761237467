// The frame in which diagrams are drawn: a document of no origin, that may reach nothing (see PageFiles in the gateway). What
// a model writes is read and laid out here; the page gets a picture as text, and shows it as one.

import mermaid, { type MermaidConfig } from "mermaid";

interface Asked {
  id: number;
  code: string;
  dark: boolean;
}

const configOf = (dark: boolean): MermaidConfig => ({
  startOnLoad: false,
  securityLevel: "strict",
  suppressErrorRendering: true,
  // In a picture text is text: HTML in it is none.
  htmlLabels: false,
  flowchart: { htmlLabels: false },
  theme: dark ? "dark" : "default",
  maxTextSize: 20_000,
  maxEdges: 300,
});

/** As an image of its own: with a size, and a ground that it is readable on wherever it is shown or printed. */
function picture(svg: string, dark: boolean): string {
  const place = document.createElement("div");
  place.innerHTML = svg;
  const image = place.querySelector("svg")!;
  const { width, height } = image.viewBox.baseVal;
  image.setAttribute("width", String(Math.ceil(width)));
  image.setAttribute("height", String(Math.ceil(height)));
  image.style.maxWidth = "";
  image.style.backgroundColor = dark ? "#1e1e1e" : "#fff";
  return new XMLSerializer().serializeToString(image);
}

let last = Promise.resolve();

async function draw({ id, code, dark }: Asked): Promise<void> {
  let svg: string | null = null;
  try {
    mermaid.initialize(configOf(dark));
    svg = picture((await mermaid.render(`diagram-${id}`, code)).svg, dark);
  } catch {
    // It is no diagram: the page shows what was written.
  }
  parent.postMessage({ id, svg }, "*");
}

addEventListener("message", ({ data, source }: MessageEvent<Asked>) => {
  // One after the other: they share the configuration.
  if (source === parent) last = last.then(() => draw(data));
});
// The frame is of a version that the gateway no longer has: it gets no more of Mermaid.
addEventListener("vite:preloadError", () => parent.postMessage({ gone: true }, "*"));
parent.postMessage({ ready: true }, "*");

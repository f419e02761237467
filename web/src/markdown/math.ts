import rehypeKatex from "rehype-katex";
import type { Options } from "react-markdown";

// MathML is the browser's own: no fonts are fetched, no styles stand in the markup, and screen readers know it.
// `trust` stays off: a formula must not be able to make links or load pictures.
const options = { output: "mathml", strict: "ignore", throwOnError: false, trust: false } as const;
export const plugins: NonNullable<Options["rehypePlugins"]> = [[rehypeKatex, options]];

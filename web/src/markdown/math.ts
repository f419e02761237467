import "katex/dist/katex.min.css";
import rehypeKatex from "rehype-katex";
import type { Options } from "react-markdown";

// `trust` stays off: a formula must not be able to make links or load pictures.
export const plugins: NonNullable<Options["rehypePlugins"]> = [[rehypeKatex, { strict: "ignore", throwOnError: false, trust: false }]];

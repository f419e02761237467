import rehypeHighlight from "rehype-highlight";
import type { Options } from "react-markdown";

export const plugins: NonNullable<Options["rehypePlugins"]> = [[rehypeHighlight, { detect: false, plainText: ["text", "txt", "plain"] }]];

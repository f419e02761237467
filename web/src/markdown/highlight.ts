import rehypeHighlight from "rehype-highlight";
import type { Options } from "react-markdown";

// Made once: it registers 37 languages, and compiles one with the first code in it, which took longer than all else of a block.
const highlight = rehypeHighlight({ detect: false, plainText: ["text", "txt", "plain"] });
export const plugins: NonNullable<Options["rehypePlugins"]> = [() => highlight];

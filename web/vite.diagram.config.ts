// The frame that draws diagrams, built by itself: the page shares no file with it, and has none of it in its first load.

import { defineConfig } from "vite";
import page from "./vite.config.ts";

export default defineConfig({
  base: page.base!,
  build: { ...page.build, emptyOutDir: false, rollupOptions: { input: "diagram.html" } },
});

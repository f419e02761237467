import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The gateway of `make run`, for `npm run dev`.
const GATEWAY = process.env.GATEWAY ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  base: "/static/",
  build: {
    outDir: process.env.PAGE_DIR ?? "../services/gateway/src/gateway/page",
    emptyOutDir: true,
    target: "es2022",
    // Everything from this origin and nothing inline: so the gateway's content policy can say so.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["index.html", "ops.html"] },
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { "/api": GATEWAY, "/config": GATEWAY } },
});

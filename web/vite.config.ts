import { readFileSync } from "node:fs";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

// The gateway of `make run`, for `npm run dev`.
const GATEWAY = process.env.GATEWAY ?? "http://127.0.0.1:8000";

// React as it is written, and a fifth of its size as it is sent: docs/adr/0044-the-page-is-drawn-by-preact.md.
const REACT = [
  { find: /^react-dom\/client$/, replacement: "preact/compat/client" },
  { find: /^react(-dom)?$/, replacement: "preact/compat" },
  { find: /^react\/(jsx-runtime|jsx-dev-runtime)$/, replacement: "preact/$1" },
];

export default defineConfig({
  plugins: [react(), stylesInPage(), scriptsInPage(), namesOfWords()],
  base: "/static/",
  resolve: { alias: REACT },
  build: {
    outDir: process.env.PAGE_DIR ?? "../services/gateway/src/gateway/page",
    emptyOutDir: true,
    target: "es2022",
    // Everything from this origin and nothing inline but the styles and one script, whose hashes the gateway's content policy names.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["index.html", "ops.html"] },
    chunkSizeWarningLimit: 700,
  },
  server: { proxy: { "/api": GATEWAY, "/config": GATEWAY } },
});

/** The styles stand in the page itself: it is painted when it is there, and not a round trip later. */
function stylesInPage(): Plugin {
  return {
    name: "styles-in-page",
    enforce: "post",
    generateBundle(_, bundle) {
      for (const page of Object.values(bundle)) {
        if (page.type !== "asset" || !page.fileName.endsWith(".html")) continue;
        page.source = String(page.source).replace(/<link rel="stylesheet"[^>]*href="\/static\/([^"]+)">/g, (_, name: string) => {
          const styles = bundle[name];
          if (styles?.type !== "asset") throw new Error(`There are no styles ${name}.`);
          delete bundle[name];
          return `<style>${String(styles.source).trim()}</style>`;
        });
      }
    },
  };
}

/** What has to be there where no script comes, and what has others fetched: before everything that is fetched. */
function scriptsInPage(): Plugin {
  const read = (name: string) => readFileSync(new URL(name, import.meta.url), "utf8").replace(/^\/\/.*\n/gm, "").replace(/\n */g, "\n");
  const [renewal, early] = [read("src/renewal.js"), read("src/words/early.js")];
  const charset = '<meta charset="utf-8">';
  return {
    name: "scripts-in-page",
    apply: "build",
    transformIndexHtml: (html, { filename }) =>
      html.replace(charset, () => `${charset}\n    <script>${renewal}${filename.endsWith("index.html") ? early : ""}</script>`),
  };
}

/** Which files have the words of which language. */
function namesOfWords(): Plugin {
  return {
    name: "names-of-words",
    enforce: "post",
    generateBundle(_, bundle) {
      const names: Record<string, string> = {};
      for (const chunk of Object.values(bundle)) {
        const language = chunk.type === "chunk" && chunk.isDynamicEntry ? /\/words\/(\w+)\.ts$/.exec(chunk.facadeModuleId ?? "")?.[1] : undefined;
        if (language) names[language] = chunk.fileName.replace("assets/", "");
      }
      const page = bundle["index.html"];
      if (page?.type === "asset") page.source = String(page.source).replace("__WORDS__", () => JSON.stringify(names));
    },
  };
}

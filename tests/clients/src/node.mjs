// The matrix in Node, in a document of happy-dom: node node.mjs '{"bases": ["http://…"], "run": "r1"}'

import { Window } from "happy-dom";

const window = new Window({ url: "http://localhost/" });
const NAMES = ["window", "document", "navigator", "HTMLElement", "HTMLIFrameElement", "Node", "Element", "MutationObserver", "getComputedStyle", "localStorage"];
for (const name of NAMES) Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
// Clients tell of connections that break; the test is about what they show.
console.error = console.warn = () => {};
// The last thing that a client does when its component goes away in mid-answer.
process.on("unhandledRejection", (error) => {
  if (error?.name !== "AbortError") throw error;
});

const { runAll } = await import("./all.mjs");
process.stdout.write(`${JSON.stringify(await runAll(JSON.parse(process.argv[2])))}\n`, () => process.exit(0));

// The matrix in a browser: bundled, and called by the test.

import { runAll } from "./all.mjs";

globalThis.runAll = runAll;

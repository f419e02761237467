// Beside every built file that shrinks, the same in brotli and gzip: the gateway compresses nothing while it serves.

import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const directory = process.env.PAGE_DIR ?? "../services/gateway/src/gateway/page";

for (const name of readdirSync(directory, { recursive: true })) {
  const path = join(directory, name);
  if (!statSync(path).isFile() || /\.(br|gz)$/.test(name)) continue;
  if (/\.(js|css|html|svg|webmanifest)$/.test(name)) compress(path);
}

function compress(path) {
  const bytes = readFileSync(path);
  const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } };
  for (const [ending, packed] of [["br", brotliCompressSync(bytes, options)], ["gz", gzipSync(bytes, { level: 9 })]]) {
    if (packed.length < bytes.length) writeFileSync(`${path}.${ending}`, packed);
  }
}

// Beside every built file that shrinks, the same in brotli and gzip: the gateway compresses nothing while it serves.

import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const directory = process.env.PAGE_DIR ?? "../services/gateway/src/gateway/page";

const names = readdirSync(directory, { recursive: true }).filter((name) => /\.(js|css|html|svg|webmanifest)$/.test(name));
await Promise.all(names.map((name) => compress(join(directory, name))));

async function compress(path) {
  if (!statSync(path).isFile()) return;
  const bytes = readFileSync(path);
  const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length } };
  const packed = { br: promisify(brotliCompress)(bytes, options), gz: promisify(gzip)(bytes, { level: 9 }) };
  for (const [ending, made] of Object.entries(packed)) {
    const less = await made;
    if (less.length < bytes.length) writeFileSync(`${path}.${ending}`, less);
  }
}

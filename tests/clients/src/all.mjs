import { runMatrix } from "./matrix.mjs";
import { runReaders } from "./readers.mjs";

export async function runAll(options) {
  const [results, readers] = await Promise.all([runMatrix(options), runReaders(options)]);
  return { results, readers };
}

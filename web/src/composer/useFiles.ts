// Files that go with the next message: uploaded as soon as they are chosen, dropped or pasted.

import { useEffect, useState } from "react";
import * as api from "../client/api.ts";
import { newId } from "../client/ids.ts";
import { isAbort, Problem } from "../client/problem.ts";
import type { Attachment } from "../conversation/outbox.ts";
import { SEND_TRIES } from "../conversation/pending.ts";
import { whyNot as whyNoAnswer } from "../conversation/statusLine.ts";
import { sentenceOf, type Said } from "../words/words.ts";

export interface Chosen {
  key: string;
  name: string;
  /** Of a picture: what is shown of it before it is sent. */
  preview: string | null;
  /** Null: on its way. */
  file: Attachment | null;
  /** Why it is not there yet, where something is in its way. */
  waits: Said | null;
  /** Why it was not taken. */
  why: Said | null;
  /** It was not, as there were too many: it goes when another one is removed. */
  over: File | null;
  leaving: AbortController;
}

export interface FilesToSend {
  chosen: readonly Chosen[];
  /** What the server takes, for the dialog that chooses files; "": none, or not known yet. */
  accept: string;
  /** Not all of them are there yet. */
  waiting: boolean;
  /** Some of them were not taken. */
  refused: boolean;
  add: (files: Iterable<File>) => void;
  putBack: (files: readonly Attachment[]) => void;
  remove: (key: string) => void;
  /** Those that are there; then there are none. */
  take: () => Attachment[];
}

// Browsers know texts by many names.
const ACCEPTED = (types: string[]) => types.map((type) => (type === "text/plain" ? "text/*,.md,.csv,.json" : type)).join(",");

// Until they are told, and where that fails: the server judges alone.
const UNKNOWN: api.FileLimits = { types: [], most: Infinity, mostBytes: Infinity };

export function useFiles(): FilesToSend {
  const [chosen, setChosen] = useState<readonly Chosen[]>([]);
  const [accept, setAccept] = useState("");
  const [files] = useState(() => new Files(setChosen));
  useEffect(() => {
    const told = (limits: api.FileLimits) => {
      files.limits = limits;
      setAccept(ACCEPTED(limits.types));
    };
    void api.fileLimits().then(told, () => {});
    return () => files.forgetAll();
  }, [files]);
  return {
    chosen,
    accept,
    waiting: chosen.some((one) => one.file === null && one.why === null),
    refused: chosen.some((one) => one.why),
    add: files.add,
    putBack: files.putBack,
    remove: files.remove,
    take: files.take,
  };
}

class Files {
  limits = UNKNOWN;
  private chosen: readonly Chosen[] = [];
  // A server takes those of one person one after the other, and a slow network is shared by none of them.
  private line = Promise.resolve();
  private readonly show: (chosen: readonly Chosen[]) => void;

  constructor(show: (chosen: readonly Chosen[]) => void) {
    this.show = show;
  }

  readonly add = (files: Iterable<File>): void => {
    const { most, mostBytes } = this.limits;
    for (const file of files) {
      const preview = file.type.startsWith("image/") && file.type !== "image/svg+xml" ? URL.createObjectURL(file) : null;
      const one: Chosen = { key: newId(), name: file.name, preview, file: null, waits: null, why: null, over: null, leaving: new AbortController() };
      if (file.size > mostBytes) this.set([...this.chosen, { ...one, why: (words) => words.fileTooLarge(mostBytes) }]);
      else {
        this.set([...this.chosen, { ...one, why: (words) => words.tooManyFiles(most), over: file }]);
        this.admit();
      }
    }
  };

  readonly putBack = (files: readonly Attachment[]): void => {
    const back = files.map((file) => ({ key: newId(), name: file.filename, preview: null, file, waits: null, why: null, over: null, leaving: new AbortController() }));
    this.set([...back, ...this.chosen]);
  };

  readonly remove = (key: string): void => {
    this.chosen.filter((one) => one.key === key).forEach(forget);
    this.set(this.chosen.filter((one) => one.key !== key));
    this.admit();
  };

  readonly take = (): Attachment[] => {
    const taken = this.chosen.flatMap((one) => one.file ?? []);
    this.forgetAll();
    this.set([]);
    return taken;
  };

  forgetAll(): void {
    this.chosen.forEach(forget);
  }

  private set(chosen: readonly Chosen[]): void {
    this.chosen = chosen;
    this.show(chosen);
  }

  private change(key: string, what: Partial<Chosen>): void {
    this.set(this.chosen.map((one) => (one.key === key ? { ...one, ...what } : one)));
  }

  /** Those for which there is room are on their way. */
  private admit(): void {
    for (const one of this.chosen) {
      const { over } = one;
      if (!over || this.chosen.filter(({ why }) => !why).length >= this.limits.most) continue;
      this.change(one.key, { why: null, over: null });
      this.line = this.line.then(() => this.upload(one, over));
    }
  }

  private async upload({ key, leaving: { signal } }: Chosen, file: File): Promise<void> {
    const onWait = (problem: Problem) => this.change(key, { waits: (words) => words.waits(whyNoAnswer(problem)(words)) });
    try {
      const { url, name, media_type } = await api.persist(() => api.uploadFile(file, signal), { signal, onWait, tries: SEND_TRIES, patient: true });
      this.change(key, { file: { type: "file", url, filename: name, mediaType: media_type } });
    } catch (error) {
      if (isAbort(error)) return;
      this.change(key, { why: whyNot(error instanceof Problem ? error : new Problem(""), file.type, this.limits.types) });
      this.admit();
    }
  }
}

/** The server names types as programs do. */
function whyNot(problem: Problem, type: string, types: string[]): Said {
  if (problem.code !== "FILE_TYPE_REFUSED" || types.length === 0) return sentenceOf(problem);
  if (types.includes(type)) return (words) => words.fileNotWhatItSays;
  const kinds = (text: string) => types.map((one) => (one === "text/plain" ? text : one.split("/")[1]!.toUpperCase())).join(", ");
  return (words) => words.fileKind(kinds(words.textFiles));
}

function forget(one: Chosen): void {
  if (one.file === null) one.leaving.abort();
  if (one.preview) URL.revokeObjectURL(one.preview);
}

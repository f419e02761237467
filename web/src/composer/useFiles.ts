// Files that go with the next message: uploaded as soon as they are chosen, dropped or pasted.

import { useCallback, useEffect, useRef, useState } from "react";
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
  const [limits, setLimits] = useState<api.FileLimits | null>(null);
  // A server takes those of one person one after the other, and a slow network is shared by none of them.
  const line = useRef(Promise.resolve());
  const now = useRef(chosen);
  now.current = chosen;

  useEffect(() => {
    void api.fileLimits().then(setLimits, () => setLimits(null));
    return () => now.current.forEach(forget);
  }, []);

  const change = useCallback((key: string, what: Partial<Chosen>) => {
    setChosen((all) => all.map((one) => (one.key === key ? { ...one, ...what } : one)));
  }, []);

  const upload = useCallback(
    async (one: Chosen, file: File, types: string[]) => {
      const { signal } = one.leaving;
      const onWait = (problem: Problem) => change(one.key, { waits: (words) => words.waits(whyNoAnswer(problem)(words)) });
      try {
        const { url, name, media_type } = await api.persist(() => api.uploadFile(file, signal), { signal, onWait, tries: SEND_TRIES });
        change(one.key, { file: { type: "file", url, filename: name, mediaType: media_type } });
      } catch (error) {
        if (isAbort(error)) return;
        change(one.key, { why: whyNot(error instanceof Problem ? error : new Problem(""), file.type, types) });
      }
    },
    [change],
  );

  const add = useCallback(
    (files: Iterable<File>) => {
      const { types, most, mostBytes } = limits ?? UNKNOWN;
      for (const file of files) {
        const preview = file.type.startsWith("image/") && file.type !== "image/svg+xml" ? URL.createObjectURL(file) : null;
        const one: Chosen = { key: newId(), name: file.name, preview, file: null, waits: null, why: null, leaving: new AbortController() };
        if (now.current.filter(({ why }) => !why).length >= most) one.why = (words) => words.tooManyFiles(most);
        else if (file.size > mostBytes) one.why = (words) => words.fileTooLarge(mostBytes);
        now.current = [...now.current, one];
        setChosen(now.current);
        if (!one.why) line.current = line.current.then(() => upload(one, file, types));
      }
    },
    [limits, upload],
  );

  const putBack = useCallback((files: readonly Attachment[]) => {
    const back = files.map((file) => ({ key: newId(), name: file.filename, preview: null, file, waits: null, why: null, leaving: new AbortController() }));
    setChosen((all) => [...back, ...all]);
  }, []);
  const remove = useCallback((key: string) => {
    now.current.filter((one) => one.key === key).forEach(forget);
    setChosen((all) => all.filter((one) => one.key !== key));
  }, []);
  function take(): Attachment[] {
    const taken = chosen.flatMap((one) => one.file ?? []);
    chosen.forEach(forget);
    setChosen([]);
    return taken;
  }
  return {
    chosen,
    accept: limits === null ? "" : ACCEPTED(limits.types),
    waiting: chosen.some((one) => one.file === null && one.why === null),
    refused: chosen.some((one) => one.why),
    add,
    putBack,
    remove,
    take,
  };
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

// Where messages are written. Drafts are kept per conversation; Enter sends, and `/` offers the tools.

import { useEffect, useImperativeHandle, useLayoutEffect, useRef, useState, type KeyboardEvent, type Ref } from "react";
import { flushSync } from "react-dom";
import type { Policy, Tool } from "../client/api.ts";
import { recall, remember } from "../storage.ts";
import { announce } from "../ui/announced.ts";
import { useWords } from "../words/words.ts";
import type { Attachment } from "../conversation/outbox.ts";
import { AttachButton, ChosenFiles } from "./ChosenFiles.tsx";
import { isComposing } from "./keys.ts";
import { argumentsOf, ToolForm } from "./ToolForm.tsx";
import { ToolList } from "./ToolList.tsx";
import { useFiles } from "./useFiles.ts";
import { takeTyped } from "./typedBefore.ts";
import { fitting, useTools, wordAt } from "./useTools.ts";

export interface ComposerHandle {
  focus: () => void;
  /** Put a text in front of what is there, and files beside it. */
  putBack: (text: string, files?: readonly Attachment[]) => void;
}

interface Props {
  draftKey: string;
  running: boolean;
  onSend: (text: string, how: { policy?: Policy; files: Attachment[] }) => void;
  onStop: () => void;
  /** Also what waits; null: nothing does. */
  onStopAll: (() => void) | null;
  onEditLast: () => boolean;
  handle: Ref<ComposerHandle>;
}

const DRAFTS = "sluiceway.drafts";
const draftOf = (key: string): string => recall<Record<string, string>>(DRAFTS, {})[key] ?? "";

function keepDraft(key: string, text: string): void {
  const { [key]: _, ...others } = recall<Record<string, string>>(DRAFTS, {});
  remember(DRAFTS, text ? { ...others, [key]: text } : others);
}

/** Kept under the conversation that it is for, also when a new one has just got its name; at once, as the page may be
 * left with the next key. */
/** What was being written where nobody can write any more. */
export function takeDraft(key: string): string {
  const draft = draftOf(key);
  keepDraft(key, "");
  return draft;
}

function useDraft(key: string, text: string): void {
  const before = useRef(key);
  useLayoutEffect(() => {
    if (before.current !== key) keepDraft(before.current, "");
    before.current = key;
    keepDraft(key, text);
  }, [key, text]);
}

export function Composer({ draftKey, running, onSend, onStop, onStopAll, onEditLast, handle }: Props) {
  const words = useWords();
  const [typed] = useState(takeTyped);
  const [text, setText] = useState(() => (typed ? [draftOf(draftKey), typed.text].filter(Boolean).join("\n") : draftOf(draftKey)));
  const [caret, setCaret] = useState(text.length);
  const [active, setActive] = useState(0);
  const [closed, setClosed] = useState(true);
  /** How it is to be sent: a file is not there yet, or was not taken. What is changed then is not ready to go. */
  const [held, setHeld] = useState<{ policy: Policy | undefined; all: boolean } | null>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const without = useRef<HTMLButtonElement>(null);
  const [tools, readTools] = useTools();
  const files = useFiles();
  useDropped(files.add);

  const word = closed ? null : wordAt(text, caret);
  const found = word === null ? [] : fitting(tools, word);
  const isOpen = found.length > 0;
  const at = Math.min(active, found.length - 1);
  const called = /^\/(\S+)\s*$/.exec(text)?.[1];
  const calledTool = isOpen ? undefined : tools.find((tool) => tool.name === called && argumentsOf(tool).length > 0);

  const whole = text.trim();
  const isSomething = whole !== "" || files.waiting || files.chosen.some((one) => one.file);
  const leavesOut = held !== null && held.all && files.refused;
  useDraft(draftKey, text);
  useLayoutEffect(() => {
    if (!held || files.waiting || leavesOut) return;
    if (!isSomething) return setHeld(null);
    // What has the focus may go with it; elsewhere on the page it stays.
    if (box.current!.form!.contains(document.activeElement)) box.current!.focus();
    go(held.policy);
  }, [held, files.waiting, leavesOut]);
  useLayoutEffect(() => fit(box.current!), [text]);
  useLayoutEffect(() => {
    const before = text.length - (typed?.text.length ?? 0);
    if (typed) box.current!.setSelectionRange(before + typed.start, before + typed.end);
  }, []);
  useEffect(() => {
    if (word !== null) readTools();
  }, [word, readTools]);

  function change(changed: string, place = changed.length): void {
    setText(changed);
    setCaret(place);
    setActive(0);
    setHeld(null);
  }
  useImperativeHandle(handle, () => ({
    focus: () => box.current?.focus(),
    putBack: (back, kept = []) => {
      setHeld(null);
      setText((now) => (now && back ? `${back}\n${now}` : back || now));
      files.putBack(kept);
      box.current?.focus();
    },
  }));

  /** `all`: what cannot go along is not silently left out. */
  function send(policy?: Policy, all = true): void {
    if (all && files.refused) {
      flushSync(() => setHeld({ policy, all }));
      return without.current?.focus();
    }
    if (!isSomething) return;
    box.current?.focus();
    if (!files.waiting) return go(policy);
    setHeld({ policy, all });
    announce(words.filesAwaited);
  }
  function go(policy?: Policy): void {
    change("");
    setClosed(true);
    onSend(whole, { ...(policy && { policy }), files: files.take() });
  }
  function pick({ name }: Tool): void {
    const rest = text.slice(caret).replace(/^\S*\s?/, "");
    flushSync(() => change(`/${name} ${rest}`, name.length + 2));
    box.current!.focus();
    box.current!.setSelectionRange(name.length + 2, name.length + 2);
  }
  /** Whether the key was meant for the list. */
  function listKey({ key, shiftKey }: KeyboardEvent): boolean {
    if (!isOpen || shiftKey) return false;
    const isWritten = found[at]!.name === word;
    if (key === "ArrowDown") setActive((at + 1) % found.length);
    else if (key === "ArrowUp") setActive((at - 1 + found.length) % found.length);
    else if (key === "Escape") setClosed(true);
    else if (key === "Tab" || (key === "Enter" && !isWritten)) pick(found[at]!);
    else return false;
    return true;
  }
  function onKeyDown(event: KeyboardEvent<HTMLTextAreaElement>): void {
    if (isComposing(event.nativeEvent)) return;
    if (listKey(event)) {
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && text === "" && onEditLast()) event.preventDefault();
  }

  return (
    <>
      {calledTool && (
        <ToolForm
          key={calledTool.name}
          tool={calledTool}
          onFill={(filled) => {
            change(filled);
            box.current?.focus();
          }}
        />
      )}
      <form
        id="composer"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        {running && (whole !== "" || onStopAll) && (
          <div className="ways">
            {whole !== "" && (
              <>
                <button type="button" className="quiet" title={words.steerHint} onClick={() => send("steer")}>
                  {words.steerNow}
                </button>
                <button id="interrupt" type="button" className="quiet" title={words.interruptHint} onClick={() => send("interrupt")}>
                  {words.interruptNow}
                </button>
              </>
            )}
            {onStopAll && (
              <button type="button" className="quiet" title={words.stopAllHint} onClick={onStopAll}>
                {words.stopAll}
              </button>
            )}
          </div>
        )}
        <ChosenFiles
          files={files}
          onRemove={(key) => {
            setHeld(null);
            files.remove(key);
          }}
        />
        {held && !leavesOut && <p className="ways">{words.filesAwaited}</p>}
        {leavesOut && (
          <p className="ways failure" role="alert">
            {words.filesLeftOut}
            {isSomething && (
              // A key that is held down is none of these decisions.
              <button ref={without} type="button" className="quiet" onKeyDown={(event) => event.repeat && event.preventDefault()} onClick={() => send(held.policy, false)}>
                {words.sendWithout}
              </button>
            )}
          </p>
        )}
        {isOpen && <ToolList tools={found} active={at} onPick={pick} />}
        <AttachButton files={files} />
        <label className="unseen" htmlFor="text">
          {words.message}
        </label>
        <textarea
          id="text"
          ref={box}
          rows={1}
          dir="auto"
          autoComplete="off"
          placeholder={words.placeholder}
          aria-describedby="hint"
          value={text}
          aria-autocomplete="list"
          aria-haspopup="listbox"
          // A box of several lines may not be a combobox; these a text box may have.
          {...(isOpen && { "aria-controls": "commands", "aria-activedescendant": `command-${at}` })}
          onChange={(event) => {
            setClosed(false);
            change(event.target.value, event.target.selectionStart);
          }}
          onKeyDown={onKeyDown}
          onPaste={(event) => {
            // A copied cell of a table comes as a picture, too: its text is meant.
            if (event.clipboardData.files.length === 0 || event.clipboardData.types.includes("text/plain")) return;
            event.preventDefault();
            files.add(event.clipboardData.files);
          }}
          onBlur={() => setClosed(true)}
        />
        {running && (
          <button id="stop" type="button" className="button" onClick={onStop}>
            {words.stop}
          </button>
        )}
        <button id="send" type="submit" className="button primary">
          {words.send}
        </button>
      </form>
      <p id="hint">{words.hint}</p>
    </>
  );
}

/** Files may be dropped anywhere on the page: elsewhere the browser would leave it for them. */
function useDropped(add: (files: Iterable<File>) => void): void {
  useLayoutEffect(() => {
    const over = (event: DragEvent) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    };
    const dropped = (event: DragEvent) => {
      if (!event.dataTransfer || event.dataTransfer.files.length === 0) return;
      event.preventDefault();
      add(event.dataTransfer.files);
    };
    window.addEventListener("dragover", over);
    window.addEventListener("drop", dropped);
    return () => {
      window.removeEventListener("dragover", over);
      window.removeEventListener("drop", dropped);
    };
  }, [add]);
}

function fit(box: HTMLTextAreaElement): void {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

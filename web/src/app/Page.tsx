// One conversation on the page: its messages, what is said of it, and the box below.

import { lazy, Suspense, useImperativeHandle, useLayoutEffect, useRef, useState, useSyncExternalStore, type Ref } from "react";
import { Composer, type ComposerHandle } from "../composer/Composer.tsx";
import { Absent } from "../conversation/Absent.tsx";
import { Beginning } from "../conversation/Beginning.tsx";
import { ConversationContext } from "../conversation/context.ts";
import type { Conversation } from "../conversation/conversation.ts";
import { textOf } from "../conversation/history.ts";
import type { Attachment } from "../conversation/outbox.ts";
import type { LogHandle } from "../conversation/Log.tsx";
import { talking } from "../conversation/talking.ts";
import { copyText } from "../ui/CopyButton.tsx";
import { useWords } from "../words/words.ts";

// On a touch screen the focus would bring up the keyboard, over half of the page.
const HAS_KEYBOARD = matchMedia("(pointer: fine)").matches;
const Log = lazy(async () => ({ default: (await talking()).Log }));

export interface PageHandle {
  focus: () => void;
  putBack: (text: string, files?: readonly Attachment[]) => void;
  escape: () => void;
  copyLast: () => void;
}

interface Props {
  conversation: Conversation;
  /** What may be offered to ask where nothing was asked yet. */
  suggestions: readonly string[];
  onSend: (text: string) => void;
  handle: Ref<PageHandle>;
}

export function Page({ conversation, suggestions, onSend, handle }: Props) {
  const words = useWords();
  const state = useSyncExternalStore(conversation.subscribe, conversation.snapshot);
  const [editing, setEditing] = useState<string | null>(null);
  const composer = useRef<ComposerHandle>(null);
  const log = useRef<LogHandle>(null);
  const isOnline = useOnline();

  // Before anything else can happen: what is typed next is for this box.
  useLayoutEffect(() => {
    if (HAS_KEYBOARD) composer.current?.focus();
  }, []);
  const suggested = { texts: suggestions, onPick: (text: string) => composer.current?.putBack(text) };
  function editLast(): boolean {
    const waits = state.pending.findLast((one) => one.state === "queued");
    if (waits) {
      void conversation.pending.withdraw(waits.id, true);
      return true;
    }
    const last = conversation.messages.findLast((message) => message.role === "user");
    if (!last || state.running) return false;
    setEditing(last.id);
    return true;
  }
  useImperativeHandle(handle, () => ({
    focus: () => composer.current?.focus(),
    putBack: (text, files) => composer.current?.putBack(text, files),
    escape: () => {
      if (state.running) void conversation.stop();
    },
    copyLast: () => {
      const last = conversation.messages.findLast((message) => message.role === "assistant");
      if (last) void copyText(textOf(last));
    },
  }));
  if (state.absent) return <Absent />;
  const status = state.status?.(words) ?? (isOnline ? "" : words.offline);
  return (
    <ConversationContext value={conversation}>
      {state.chat ? (
        <Suspense fallback={<Beginning state={state} suggested={suggested} />}>
          <Log chat={state.chat} state={state} editing={editing} onEdit={setEditing} suggested={suggested} handle={log} />
        </Suspense>
      ) : (
        <Beginning state={state} suggested={suggested} />
      )}
      <footer>
        {state.problem && (
          <p id="alert" role="alert">
            {state.problem(words)}
          </p>
        )}
        <p id="status" role="status">
          {status}
        </p>
        <Composer
          draftKey={state.exists ? conversation.sessionId : "new"}
          running={state.running}
          handle={composer}
          onEditLast={editLast}
          onStop={() => {
            void conversation.stop();
            composer.current?.focus();
          }}
          onStopAll={
            state.pending.some((one) => one.state === "queued")
              ? () => {
                  void conversation.stopAll();
                  composer.current?.focus();
                }
              : null
          }
          onSend={(text, how) => {
            conversation.send(text, how);
            onSend(text || (how.files[0]?.filename ?? ""));
            log.current?.toEnd();
          }}
        />
      </footer>
    </ConversationContext>
  );
}

function useOnline(): boolean {
  return useSyncExternalStore(
    (listener) => {
      window.addEventListener("online", listener);
      window.addEventListener("offline", listener);
      return () => {
        window.removeEventListener("online", listener);
        window.removeEventListener("offline", listener);
      };
    },
    () => navigator.onLine,
  );
}

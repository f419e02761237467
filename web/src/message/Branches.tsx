import { useLayoutEffect, useRef } from "react";
import { useConversation } from "../conversation/context.ts";
import { Icon } from "../ui/Icon.tsx";
import { useWords } from "../words/words.ts";

/** Which of the messages this is that an edit or another answer has put in one place, and the way to the others. */
export function Branches({ messageId, siblings }: { messageId: string; siblings: string[] }) {
  const words = useWords();
  const conversation = useConversation();
  const group = useRef<HTMLSpanElement>(null);
  const at = siblings.indexOf(messageId);
  useLayoutEffect(() => {
    const { arrival } = conversation;
    if (arrival?.id !== messageId) return;
    conversation.arrival = null;
    const [back, forth] = group.current!.querySelectorAll("button");
    const wanted = arrival.forth ? [forth, back] : [back, forth];
    wanted.find((button) => button && !button.disabled)?.focus();
  }, [conversation, messageId]);
  const go = (to: number) => void conversation.showBranch(siblings[to]!, to > at);
  return (
    <span ref={group} className="branches" role="group" aria-label={words.versionOf(at + 1, siblings.length)}>
      <button type="button" className="icon" title={words.earlierVersion} aria-label={words.earlierVersion} disabled={at === 0} onClick={() => go(at - 1)}>
        <Icon name="back" />
      </button>
      <span aria-hidden="true">{`${at + 1} / ${siblings.length}`}</span>
      <button type="button" className="icon" title={words.laterVersion} aria-label={words.laterVersion} disabled={at === siblings.length - 1} onClick={() => go(at + 1)}>
        <Icon name="forth" />
      </button>
    </span>
  );
}

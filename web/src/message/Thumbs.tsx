// What a person thinks of an answer: a thumb, and a word about what was wrong with it.

import { useRef, useState } from "react";
import type { Feedback } from "../client/api.ts";
import { isComposing } from "../composer/keys.ts";
import { useConversation } from "../conversation/context.ts";
import { focused } from "../ui/focused.ts";
import { Icon } from "../ui/Icon.tsx";
import { useWords } from "../words/words.ts";

interface Props {
  messageId: string;
  feedback: Feedback | undefined;
}

export function Thumbs({ messageId, feedback }: Props) {
  const words = useWords();
  const conversation = useConversation();
  const [asking, setAsking] = useState(false);
  const down = useRef<HTMLButtonElement>(null);
  const rate = (rating: Feedback["rating"]) => {
    const again = feedback?.rating === rating;
    setAsking(rating === "down" && !again);
    void conversation.verdicts.rate(messageId, again ? null : { rating, comment: "" });
  };
  return (
    <>
      {(["up", "down"] as const).map((rating) => {
        const label = rating === "up" ? words.goodAnswer : words.badAnswer;
        return (
          <button key={rating} ref={rating === "down" ? down : null} type="button" className="icon" title={label} aria-label={label} aria-pressed={feedback?.rating === rating} onClick={() => rate(rating)}>
            <Icon name={rating === "up" ? "up" : "down"} />
          </button>
        );
      })}
      {asking && (
        <Why
          onSend={(comment) => {
            setAsking(false);
            down.current?.focus();
            if (comment) void conversation.verdicts.rate(messageId, { rating: "down", comment });
          }}
        />
      )}
    </>
  );
}

function Why({ onSend }: { onSend: (comment: string) => void }) {
  const words = useWords();
  const [text, setText] = useState("");
  return (
    <form
      className="why"
      aria-label={words.whyBad}
      onSubmit={(event) => {
        event.preventDefault();
        onSend(text.trim());
      }}
    >
      <input
        type="text"
        ref={focused}
        dir="auto"
        maxLength={2000}
        aria-label={words.whyBad}
        placeholder={words.whyBad}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape" || isComposing(event.nativeEvent)) return;
          event.stopPropagation();
          onSend("");
        }}
      />
      <button type="submit" className="button">
        {words.sendWhy}
      </button>
    </form>
  );
}

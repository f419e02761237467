import { useLayoutEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import type { Session } from "../client/api.ts";
import { isComposing } from "../composer/keys.ts";
import { focused } from "../ui/focused.ts";
import { Icon } from "../ui/Icon.tsx";
import { useWords } from "../words/words.ts";
import { addressOf, type SessionState } from "./sessions.ts";

interface Props {
  session: Session;
  title: string;
  state: SessionState;
  isCurrent: boolean;
  onPicked: () => void;
  onRename: (session: Session, title: string) => void;
  onPin: (session: Session, pinned: boolean) => void;
  onDelete: (session: Session, archive: boolean) => void;
  onShare: ((session: Session) => void) | null;
}

export function SessionItem({ session, title, state, isCurrent, onPicked, onRename, onPin, onDelete, onShare }: Props) {
  const words = useWords();
  const [menu, setMenu] = useState(false);
  const [renaming, setRenaming] = useState(false);
  const item = useRef<HTMLLIElement>(null);
  const more = useRef<HTMLButtonElement>(null);
  const closeMenu = () => {
    setMenu(false);
    more.current?.focus();
  };
  if (renaming)
    return (
      <li>
        <Rename
          title={title}
          onDone={(changed, byKey) => {
            flushSync(() => setRenaming(false));
            if (changed) onRename(session, changed);
            // The box is gone, and the focus with it.
            if (byKey) more.current?.focus();
          }}
        />
      </li>
    );
  return (
    <li
      ref={item}
      data-session-id={session.id}
      onBlur={(event) => !item.current?.contains(event.relatedTarget) && setMenu(false)}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !menu) return;
        event.stopPropagation();
        closeMenu();
      }}
    >
      <a href={addressOf(session.id)} title={title} dir="auto" aria-current={isCurrent ? "page" : undefined} onClick={onPicked}>
        {title}
      </a>
      {state && <span className="state" data-state={state} role="img" aria-label={words.sessionState[state]} title={words.sessionState[state]} />}
      <button ref={more} type="button" className="icon" aria-label={words.optionsOf(title)} aria-expanded={menu} onClick={() => setMenu(!menu)}>
        <Icon name="more" />
      </button>
      {menu && (
        <div className="menu" role="group" ref={inSight} aria-label={words.optionsOf(title)}>
          <button
            type="button"
            ref={focused}
            onClick={() => {
              setMenu(false);
              setRenaming(true);
            }}
          >
            {words.rename}
          </button>
          <button type="button" onClick={() => onPin(session, !session.pinned_at)}>
            {session.pinned_at ? words.unpin : words.pin}
          </button>
          {onShare && (
            <button
              type="button"
              onClick={() => {
                closeMenu();
                onShare(session);
              }}
            >
              {words.share}
            </button>
          )}
          <button type="button" onClick={() => onDelete(session, true)}>
            {words.archive}
          </button>
          <button type="button" onClick={() => onDelete(session, false)}>
            {words.remove}
          </button>
        </div>
      )}
    </li>
  );
}

/** Of the last of the list, or on a low screen. */
const inSight = (menu: HTMLElement | null): void => menu?.scrollIntoView({ block: "nearest" });

function Rename({ title, onDone }: { title: string; onDone: (changed: string | null, byKey: boolean) => void }) {
  const words = useWords();
  const [text, setText] = useState(title);
  const box = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    box.current!.focus();
    box.current!.select();
  }, []);
  const changed = text.trim() && text.trim() !== title ? text.trim() : null;
  return (
    <input
      ref={box}
      className="rename"
      maxLength={200}
      dir="auto"
      aria-label={words.newTitle}
      value={text}
      onChange={(event) => setText(event.target.value)}
      onBlur={() => onDone(changed, false)}
      onKeyDown={(event) => {
        if (isComposing(event.nativeEvent)) return;
        if (event.key !== "Enter" && event.key !== "Escape") return;
        event.preventDefault();
        event.stopPropagation();
        onDone(event.key === "Enter" ? changed : null, true);
      }}
    />
  );
}

import { useEffect, useRef, useState } from "react";
import type { Session } from "../client/api.ts";
import { isComposing } from "../composer/keys.ts";
import { Icon } from "../ui/Icon.tsx";
import { useWords } from "../words/words.ts";
import { addressOf } from "./sessions.ts";

interface Props {
  session: Session;
  title: string;
  isCurrent: boolean;
  onPicked: () => void;
  onRename: (session: Session, title: string) => void;
  onDelete: (session: Session) => void;
}

export function SessionItem({ session, title, isCurrent, onPicked, onRename, onDelete }: Props) {
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
          onDone={(changed) => {
            setRenaming(false);
            if (changed) onRename(session, changed);
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
      <button ref={more} type="button" className="icon" aria-label={words.optionsOf(title)} aria-expanded={menu} onClick={() => setMenu(!menu)}>
        <Icon name="more" />
      </button>
      {menu && (
        <div className="menu" role="group" aria-label={words.optionsOf(title)}>
          <button type="button" autoFocus onClick={() => setRenaming(true)}>
            {words.rename}
          </button>
          <button type="button" onClick={() => onDelete(session)}>
            {words.remove}
          </button>
        </div>
      )}
    </li>
  );
}

function Rename({ title, onDone }: { title: string; onDone: (changed: string | null) => void }) {
  const words = useWords();
  const [text, setText] = useState(title);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => box.current?.select(), []);
  const done = () => onDone(text.trim() && text.trim() !== title ? text.trim() : null);
  return (
    <input
      ref={box}
      className="rename"
      autoFocus
      maxLength={200}
      dir="auto"
      aria-label={words.newTitle}
      value={text}
      onChange={(event) => setText(event.target.value)}
      onBlur={done}
      onKeyDown={(event) => {
        if (isComposing(event.nativeEvent)) return;
        if (event.key === "Enter") done();
        else if (event.key === "Escape") {
          event.stopPropagation();
          onDone(null);
        }
      }}
    />
  );
}

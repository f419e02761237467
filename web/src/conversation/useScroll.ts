// The newest line stays in sight for as long as the reader has not scrolled away from it, and what is put above the
// messages moves nothing.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

const NEAR_PX = 48;

export function useScroll(firstId: string | undefined) {
  const scroller = useRef<HTMLDivElement>(null);
  const column = useRef<HTMLDivElement>(null);
  const following = useRef(true);
  const lastTop = useRef(0);
  const height = useRef(0);
  const [away, setAway] = useState(false);

  const isNearEnd = () => {
    const { scrollHeight, scrollTop, clientHeight } = scroller.current!;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  };
  const grown = useCallback(() => {
    const box = scroller.current;
    if (!box) return;
    if (following.current) box.scrollTop = box.scrollHeight;
    // Where it has grown, as by a form above the box that goes, its place is another, and nobody has scrolled.
    lastTop.current = box.scrollTop;
    height.current = box.scrollHeight;
    setAway(!following.current && !isNearEnd());
  }, []);
  const toEnd = useCallback(() => {
    following.current = true;
    grown();
  }, [grown]);

  /** Somebody is at something that stands above. */
  const stay = useCallback(() => void (following.current = false), []);

  /** To a message, which gets the focus: it is read aloud, and one sees which it is. */
  const toMessage = useCallback((id: string) => {
    const message = scroller.current!.querySelector<HTMLElement>(`[data-message-id="${CSS.escape(id)}"]`);
    if (!message) return;
    following.current = false;
    message.tabIndex = -1;
    message.focus({ preventScroll: true });
    // A click on it later is none for the focus.
    message.addEventListener("blur", () => message.removeAttribute("tabindex"), { once: true });
    message.scrollIntoView({ block: "start" });
  }, []);

  useEffect(() => {
    const resized = new ResizeObserver(grown);
    resized.observe(scroller.current!);
    resized.observe(column.current!);
    // Before the browser lays the frame out: what grew above, as a formula that is set, has moved nothing then.
    const changed = new MutationObserver(() => void (following.current && grown()));
    changed.observe(column.current!, { childList: true, subtree: true, characterData: true });
    return () => (resized.disconnect(), changed.disconnect());
  }, [grown]);

  const before = useRef(firstId);
  useLayoutEffect(() => {
    const box = scroller.current!;
    if (before.current !== firstId && before.current !== undefined && !following.current) box.scrollTop += box.scrollHeight - height.current;
    before.current = firstId;
    height.current = box.scrollHeight;
  }, [firstId]);

  const onScroll = useCallback(() => {
    const { scrollTop } = scroller.current!;
    // What grew since the last frame is not the reader's doing: only a way up is.
    if (isNearEnd()) following.current = true;
    else if (scrollTop < lastTop.current - 1) following.current = false;
    lastTop.current = scrollTop;
    setAway(!following.current && !isNearEnd());
  }, []);

  return { scroller, column, away, onScroll, toEnd, toMessage, stay };
}

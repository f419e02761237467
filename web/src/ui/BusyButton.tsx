import { useState, type ComponentProps } from "react";

interface Props extends Omit<ComponentProps<"button">, "onClick"> {
  /** Until it resolves the button is seen to be at work, and begins nothing a second time. */
  onClick: () => Promise<unknown>;
}

export function BusyButton({ onClick, ...others }: Props) {
  const [busy, setBusy] = useState(false);
  const begin = () => {
    if (busy) return;
    setBusy(true);
    void onClick().finally(() => setBusy(false));
  };
  // Not disabled: it would lose the focus.
  return <button type="button" aria-busy={busy || undefined} {...others} onClick={begin} />;
}

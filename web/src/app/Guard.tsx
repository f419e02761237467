import { Component, type ReactNode } from "react";
import { wordsIn } from "../words/words.ts";
import { readPreferences } from "../settings/preferences.ts";

/** A fault of the page ends in a sentence, not in an empty window. */
export class Guard extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children;
    const words = wordsIn(readPreferences().language);
    return (
      <main className="fault">
        <h1 className="unseen">Sluiceway</h1>
        <p role="alert">{words.needsReload}</p>
        <button type="button" className="button primary" onClick={() => location.reload()}>
          {words.reload}
        </button>
      </main>
    );
  }
}

// A turn of which nothing is heard for a while still lives: its worker may have died, and another takes it over. That is
// told, and taken back with the next word.

const SILENCE_MS = 9_000;
const LOOK_MS = 1_000;

export class Silence {
  private readonly onSilence: () => void;
  private readonly onWord: () => void;
  private timer: ReturnType<typeof setInterval> | undefined;
  /** Looks, and not the clock, which may be set meanwhile. */
  private quietMs = 0;
  private told = false;

  constructor(onSilence: () => void, onWord: () => void) {
    this.onSilence = onSilence;
    this.onWord = onWord;
  }

  begin(): void {
    this.end();
    this.quietMs = 0;
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  /** Something came. A timer of its own for each word would cost more than the word. */
  heard(): void {
    this.quietMs = 0;
    if (!this.told) return;
    this.told = false;
    this.onWord();
  }

  end(): void {
    clearInterval(this.timer);
    this.told = false;
  }

  private look(): void {
    this.quietMs += LOOK_MS;
    if (this.told || this.quietMs < SILENCE_MS) return;
    this.told = true;
    this.onSilence();
  }
}

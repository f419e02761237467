// A turn of which nothing is heard for a while still lives: its worker may have died, and another takes it over. That is
// told, and taken back with the next word.

const SILENCE_MS = 9_000;
const LOOK_MS = 1_000;

export class Silence {
  private readonly onSilence: () => void;
  private readonly onWord: () => void;
  private timer: ReturnType<typeof setInterval> | undefined;
  private heardAt = 0;
  private told = false;

  constructor(onSilence: () => void, onWord: () => void) {
    this.onSilence = onSilence;
    this.onWord = onWord;
  }

  begin(): void {
    this.end();
    this.heardAt = Date.now();
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  /** Something came. A timer of its own for each word would cost more than the word. */
  heard(): void {
    this.heardAt = Date.now();
    if (!this.told) return;
    this.told = false;
    this.onWord();
  }

  end(): void {
    clearInterval(this.timer);
    this.told = false;
  }

  private look(): void {
    if (this.told || Date.now() - this.heardAt < SILENCE_MS) return;
    this.told = true;
    this.onSilence();
  }
}

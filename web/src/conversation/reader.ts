// What of the answers in the log is to be read aloud: each block once, when the next one has begun or its turn has ended.

// Of code and tables that are longer a person hears the beginning, and reads the rest where it stands.
const MOST_CHARS = 1_200;

export class Reader {
  private readonly log: () => ParentNode | null;
  private readonly name: string;
  /** The answer that is read, and how many of its blocks were. */
  private message: string | undefined;
  private told = 0;

  constructor(log: () => ParentNode | null, name: string) {
    this.log = log;
    this.name = name;
    // What stands there before the turn was heard, or can be read.
    this.message = this.newest;
    this.told = this.blocks.length;
  }

  private get newest(): string | undefined {
    const answers = this.log()?.querySelectorAll<HTMLElement>("#messages > .assistant[data-message-id]") ?? [];
    return [...answers].at(-1)?.dataset.messageId;
  }

  private get blocks(): Element[] {
    const { message } = this;
    if (message === undefined) return [];
    return [...(this.log()?.querySelectorAll(`[data-message-id="${CSS.escape(message)}"] > .body > .text > *`) ?? [])];
  }

  /** What is to be read now, or "". `whole`: nothing more comes, and what is said of its end is read, too. Of an answer that
   * another one follows the rest is read before. */
  look(whole: boolean): string {
    const { newest } = this;
    const said: string[] = [];
    if (newest !== this.message) {
      said.push(...this.fresh(true));
      this.message = newest;
      this.told = 0;
    }
    said.push(...this.fresh(whole));
    if (whole) said.push(...this.notices);
    return said.join("\n");
  }

  /** That it failed, was stopped or cut short, or that there is none. */
  private get notices(): string[] {
    const last = "#messages > :last-child > ";
    return [...(this.log()?.querySelectorAll(`${last}.notice, ${last}.ending > .notice`) ?? [])].map(textIn);
  }

  private fresh(whole: boolean): string[] {
    const { blocks } = this;
    const finished = whole ? blocks.length : blocks.length - 1;
    const texts = blocks.slice(this.told, finished).map(textIn).filter(Boolean);
    if (this.told === 0 && texts.length > 0) texts[0] = `${this.name}: ${texts[0]}`;
    this.told = Math.max(this.told, finished);
    return texts;
  }
}

function textIn(block: Element): string {
  const text = block.textContent?.trim() ?? "";
  return text.length > MOST_CHARS ? `${text.slice(0, MOST_CHARS)}…` : text;
}

// The line below a conversation while a turn runs: what it does, what it waits for, and why nothing comes. A reason to
// wait that the server has told stands there until something is answered; silence says nothing over it.

import type { Chunk } from "../client/chunks.ts";
import type { Problem } from "../client/problem.ts";
import { isOffline } from "../client/waiting.ts";
import { sentenceOf, type Said } from "../words/words.ts";
import { Silence } from "./silence.ts";
import { Teller } from "./status.ts";

/** The turn that the line is about. */
export interface Watched {
  /** Somebody has ended it: until it has, nothing else is said of it. */
  readonly stopping: boolean;
  /** Something of its answer is there. */
  readonly hasBegun: boolean;
  /** Of a call that its message has. */
  titleOf(callId: string): string | undefined;
  show(said: Said | null): void;
}

const ANSWERS = ["reasoning-start", "text-start", "reset-step"];

export class StatusLine {
  private readonly turn: Watched;
  private teller: Teller;
  /** It says what the turn waits for: a tool, a person, its model, its place in the queue. */
  private awaited = false;
  private readonly silence = new Silence(() => this.saySilence(), () => this.sayState());

  constructor(turn: Watched) {
    this.turn = turn;
    this.teller = this.newTeller();
  }

  private newTeller(): Teller {
    return new Teller((callId) => this.turn.titleOf(callId));
  }

  begin(): void {
    this.teller = this.newTeller();
    this.awaited = false;
    this.silence.begin();
    if (!this.turn.stopping) this.turn.show((words) => words.waitingForAnswer);
  }

  /** No turn runs: what there is to say of the conversation itself, if anything. */
  end(said: Said | null): void {
    this.silence.end();
    this.turn.show(said);
  }

  stopping(): void {
    this.turn.show((words) => words.stopping);
  }

  heard(chunk: Chunk): void {
    this.silence.heard();
    const said = this.teller.said(chunk);
    if (!said) return;
    if (!this.turn.stopping) this.turn.show(said);
    this.awaited = !ANSWERS.includes(chunk.type);
  }

  /** What became of the connection that brings the turn. */
  connection(state: "open" | "waiting" | "lost", problem?: Problem): void {
    const why: Said = problem?.status ? sentenceOf(problem) : (words) => (isOffline() ? words.offline : words.connectionLost);
    if (state === "lost") this.turn.show((words) => words.reconnecting(why(words)));
    else if (state === "waiting" && problem) this.waits(problem);
    else this.sayState();
  }

  /** A request was refused for now, and is tried again. */
  waits(problem: Problem): void {
    this.turn.show((words) => words.waits(whyNot(problem)(words)));
  }

  private sayState(): void {
    if (!this.turn.stopping) this.turn.show(this.turn.hasBegun ? (words) => words.answering : (words) => words.waitingForAnswer);
  }

  private saySilence(): void {
    if (!this.turn.stopping && !this.awaited) this.turn.show((words) => words.stillThere);
  }
}

/** Why a request was not answered: that the machine has no network, before all else. */
export function whyNot(problem: Problem): Said {
  return isOffline() ? (words) => words.offline : sentenceOf(problem);
}

// The line below a conversation while a turn runs: what it does, what it waits for, and why nothing comes. A reason to
// wait that the server has told stands there until something is answered; silence says nothing over it. While the
// connection is away that is said, and when it is back, again what was said before.

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
  private said: Said = (words) => words.waitingForAnswer;
  /** Why nothing is brought at the moment. */
  private away: Said | null = null;
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
    this.away = null;
    this.said = (words) => words.waitingForAnswer;
    this.silence.begin();
    this.sayState();
  }

  /** No turn runs: what there is to say of the conversation itself, if anything. */
  end(said: Said | null): void {
    this.silence.end();
    this.turn.show(said);
  }

  heard(chunk: Chunk): void {
    this.silence.heard();
    const said = this.teller.said(chunk);
    if (!said) return;
    this.said = said;
    this.awaited = !ANSWERS.includes(chunk.type);
    if (!this.turn.stopping) this.sayState();
  }

  /** What became of the connection that brings the turn. */
  connection(state: "open" | "waiting" | "lost", problem?: Problem): void {
    const why: Said = problem?.status ? sentenceOf(problem) : (words) => (isOffline() ? words.offline : words.connectionLost);
    if (state === "lost") this.away = (words) => words.reconnecting(why(words));
    else if (state === "waiting" && problem) this.away = waiting(problem);
    else {
      this.away = null;
      this.silence.begin();
    }
    this.sayState();
  }

  /** A request was refused for now, and is tried again. */
  waits(problem: Problem): void {
    this.turn.show(waiting(problem));
  }

  /** What is so, where something else was said for a while. */
  sayState(): void {
    this.turn.show(this.away ?? (this.turn.stopping ? (words) => words.stopping : this.said));
  }

  private saySilence(): void {
    if (!this.turn.stopping && !this.awaited && !this.away) this.turn.show((words) => words.stillThere);
  }
}

const waiting = (problem: Problem): Said => (words) => words.waits(whyNot(problem)(words));

/** Why a request was not answered: that the machine has no network, before all else. */
export function whyNot(problem: Problem): Said {
  return isOffline() ? (words) => words.offline : sentenceOf(problem);
}

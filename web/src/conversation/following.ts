// One loop reads the history and follows the turn that runs, until none does, so that never two streams write into the
// chat. What begins a turn is done in the loop, too.

import type { ActiveTask } from "../client/api.ts";
import { backoffMs, sleep } from "../client/waiting.ts";
import type { Host } from "./host.ts";
import type { HistoryReading } from "./reading.ts";
import type { ConversationState } from "./state.ts";
import type { RunningTurn } from "./turn.ts";

export class Following {
  private readonly state: ConversationState;
  private readonly turn: RunningTurn;
  private readonly history: HistoryReading;
  private readonly host: Host;
  private readonly prepare: () => Promise<void>;
  private looping = false;
  private again = false;
  /** What a person wants to be done here, until it is begun, or is not to be. */
  private wish: ((isTaken: boolean) => Promise<void> | void) | null = null;
  private started: string[] = [];

  /** `prepare`: once it is done, there is a chat. */
  constructor(state: ConversationState, turn: RunningTurn, history: HistoryReading, host: Host, prepare: () => Promise<void>) {
    this.state = state;
    this.turn = turn;
    this.history = history;
    this.host = host;
    this.prepare = prepare;
  }

  get busy(): boolean {
    return this.looping;
  }

  /** Read the history and follow what runs, until nothing does. Of what the server does not know there is none, and who
   * looks for it would be in the way of its first message. */
  async refresh(): Promise<void> {
    if (this.state.now.exists) await this.run();
  }

  /** A turn of this conversation has started, here or elsewhere. */
  heardStart(taskId: string): void {
    this.started.push(taskId);
    if (!this.looping && this.hasNews()) void this.refresh();
  }

  /** A turn has ended. Who follows it knows that, and everybody else reads what it said. */
  heardEnd(taskId: string): void {
    if (this.looping || this.turn.ended.has(taskId)) return;
    this.turn.ended.add(taskId);
    void this.refresh();
  }

  /** Another branch is shown, or nobody waits for an answer any more. */
  heardChange(): void {
    if (this.turn.runs) void this.history.readWaiting();
    else this.history.otherBranch = true;
    void this.refresh();
  }

  /** Whether a turn was told of that was not followed. */
  private hasNews(): boolean {
    const started = this.started;
    this.started = [];
    return started.some((taskId) => !this.turn.ended.has(taskId));
  }

  /** Begin a turn, or show another branch, as soon as the history that is being read is. False, and not begun: a turn
   * runs, so that it would be done to what nobody has seen, or another wish waits. */
  act(begin: () => Promise<void>): Promise<boolean> {
    if (this.wish || this.turn.runs) return Promise.resolve(false);
    return new Promise((taken) => {
      this.wish = (isTaken) => {
        taken(isTaken);
        if (isTaken) return begin();
      };
      void this.run();
    });
  }

  private answerWish(isTaken: boolean): Promise<void> | void {
    const { wish } = this;
    this.wish = null;
    return wish?.(isTaken);
  }

  private async run(): Promise<void> {
    if (this.looping) {
      this.again = true;
      return;
    }
    this.looping = true;
    try {
      await this.prepare();
      do {
        this.again = false;
        await this.answerWish(true);
        await this.followAll();
      } while (this.again || this.hasNews());
    } catch (error) {
      this.state.failed(error);
    } finally {
      this.looping = false;
      void this.answerWish(false);
      this.turn.end();
    }
  }

  private async followAll(): Promise<void> {
    const { ended } = this.turn;
    for (let fruitless = 0; ; ) {
      this.state.signal.throwIfAborted();
      const active = await this.history.load();
      if (!active) return;
      if (!ended.has(active.task_id) && (await this.follow(active))) {
        ended.add(active.task_id);
        this.host.onEnd();
        fruitless = 0;
      } else {
        // It has ended and the server is about to say so, or its stream is not there yet.
        fruitless += 1;
        await sleep(100 + backoffMs(fruitless, 200), this.state.signal);
      }
    }
  }

  /** Follow it to its end. False where there was nothing to follow yet, or where it has to be read anew. */
  private async follow(active: ActiveTask): Promise<boolean> {
    void this.answerWish(false);
    this.turn.begin(active.task_id, active.message_id);
    this.state.talk!.transport.streamUrl = active.stream_url ?? `/api/chat/tasks/${encodeURIComponent(active.task_id)}/stream`;
    await this.state.chat.resumeStream();
    this.state.signal.throwIfAborted();
    return this.turn.outcome();
  }
}

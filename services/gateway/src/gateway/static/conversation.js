// One conversation: its history, the turn that runs, sending, stopping.
//
// The server's history is the truth. While a turn runs its answer is built from the stream; when it has ended the
// history is read again, which also finds the next turn that waits. One loop does all of that.

import { answerApproval, cancelTask, createSession, getSession, getTask, postMessage } from "./api.js";
import { backoffMs, persist, sleep } from "./retry.js";
import { follow } from "./stream.js";
import { ANSWERING, Teller, WAITING } from "./telling.js";

const SEND_TRIES = 5;
const NEVER = new AbortController().signal;
const ASKED = "A tool waits for your approval.";
const NOT_WANTED = {
  __proto__: null,
  404: "Nobody asks for this approval any more.",
  409: "It was answered before, perhaps in another window.",
  410: "It is too late: the request for approval has expired or was taken back.",
};

/** A random id, also where the page is not served from a secure context. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

export class Conversation {
  /** `host` is told: onStatus(text), onTurn(running), onSession(session), onProblem(sentence), onSent(), onEnd(),
   * onReturn(text). */
  constructor(log, host, sessionId = null) {
    this.log = log;
    this.host = host;
    this.exists = sessionId !== null;
    this.sessionId = sessionId ?? newId();
    this.leaving = new AbortController();
    this.live = null;
    this.running = false;
    this.again = false;
    this.ended = new Set();
    this.deliveries = Promise.resolve();
  }

  get signal() {
    return this.leaving.signal;
  }

  /** Leave it. What runs on the server runs on. */
  close() {
    this.leaving.abort(new DOMException("The conversation was left.", "AbortError"));
  }

  /** Read the history, follow what runs, until nothing does. `live`: a turn that is known to be next. */
  async refresh(live = null) {
    if (this.running) {
      this.again = true;
      return;
    }
    this.running = true;
    try {
      do {
        this.again = false;
        await this.run(live);
        live = null;
      } while (this.again);
    } catch (problem) {
      if (!this.signal.aborted) this.host.onProblem(problem.message);
    } finally {
      this.running = false;
      if (!this.signal.aborted) this.setLive(null);
    }
  }

  async run(known) {
    let fruitless = 0;
    for (;;) {
      const live = known ?? (await this.load());
      known = null;
      if (!live) return;
      if (!this.ended.has(live.taskId) && (await this.followTurn(live)) === "ended") {
        this.ended.add(live.taskId);
        this.host.onEnd();
        fruitless = 0;
      } else {
        // It has ended and the server is about to say so, or its stream is not there yet.
        fruitless += 1;
        await sleep(100 + backoffMs(fruitless, 200), this.signal);
      }
    }
  }

  /** Show the history; answer the turn that runs or is next. */
  async load() {
    if (!this.exists) return null;
    const session = await this.insist(() => getSession(this.sessionId, { signal: this.signal }));
    const active = session.active_task;
    this.log.showNewest(session.messages, active?.message_id);
    const olderAreShown = this.log.firstSequence < session.messages[0]?.sequence;
    if (!olderAreShown) this.log.more.hidden = !session.has_more;
    this.host.onSession(session);
    if (!active) return null;
    const task = await this.insist(() => getTask(active.task_id, this.signal));
    // It ended while this was read: the history that goes with that is the next one.
    if (task.ended_at) this.ended.add(task.task_id);
    return liveTurn(task);
  }

  insist(action) {
    const onWait = (problem) => this.host.onStatus(`${problem.message} Trying again…`);
    return persist(action, { signal: this.signal, onWait });
  }

  async followTurn(live) {
    this.setLive(live);
    this.host.onStatus(WAITING);
    this.log.views.get(live.messageId)?.tell("");
    const view = this.log.addAnswer(live);
    const teller = new Teller();
    return follow(live.streamUrl, {
      signal: this.signal,
      onRestart: () => view.restart(),
      onState: (state, problem) => this.streamState(state, problem, view),
      onChunk: (chunk) => {
        view.apply(chunk);
        this.log.grown();
        const said = teller.said(chunk, view);
        if (said && !live.stopping) this.host.onStatus(said);
      },
    });
  }

  streamState(state, problem, view) {
    if (state === "lost") this.host.onStatus(`${problem.status ? problem.message : "Connection lost."} Reconnecting…`);
    else if (state === "open") this.host.onStatus(view.isEmpty ? WAITING : ANSWERING);
  }

  setLive(live) {
    this.live = live;
    this.host.onTurn(live !== null);
    if (!live) this.host.onStatus(this.log.asksForApproval ? ASKED : "");
  }

  async showOlder() {
    try {
      const beforeSequence = this.log.firstSequence;
      const page = await getSession(this.sessionId, { beforeSequence, signal: this.signal });
      this.log.showOlder(page.messages);
      this.log.more.hidden = !page.has_more;
    } catch (problem) {
      if (!this.signal.aborted) this.host.onProblem(problem.message);
    }
  }

  /** Messages are delivered one after the other, so that they arrive in the order in which they were written. */
  send(text) {
    const view = this.log.addUserMessage(newId(), text);
    this.enqueue(view, text);
  }

  enqueue(view, text) {
    view.setPending(true);
    view.tell("");
    this.deliveries = this.deliveries.then(() => this.deliver(view, text));
  }

  async deliver(view, text) {
    try {
      const accepted = await this.post(view, text);
      view.setPending(false);
      if (this.signal.aborted) return;
      this.host.onSent();
      if (accepted.position > 0) view.tell("Queued. It is answered after the message before it.");
      this.refresh(accepted.position > 0 ? null : liveTurn(accepted));
    } catch (problem) {
      if (this.signal.aborted) this.host.onProblem(`A message was not sent. ${problem.message}`);
      else this.undelivered(view, text, problem);
    }
  }

  /** Leaving the conversation does not take back what was sent: nothing here listens to that signal. */
  async post(view, text) {
    const onWait = (problem) => view.tell(`${problem.message} Trying again…`, "failure");
    const retry = { signal: NEVER, onWait, tries: SEND_TRIES };
    if (!this.exists) {
      await persist(() => createSession(this.sessionId), retry);
      this.exists = true;
    }
    const accepted = await persist(() => postMessage(this.sessionId, view.messageId, text), retry);
    view.tell("");
    return accepted;
  }

  undelivered(view, text, problem) {
    const again = { label: "Try again", run: () => this.enqueue(view, text) };
    const rewrite = { label: "Change it", run: () => this.takeBack(view, text) };
    view.tell(`Not sent. ${problem.message}`, "failure", problem.passing ? again : rewrite);
  }

  takeBack(view, text) {
    view.setPending(false);
    this.log.remove(view.messageId);
    this.host.onReturn(text);
  }

  /** Ask the server to end the turn that runs. What there is of the answer is kept. */
  async stop() {
    const live = this.live;
    if (!live || live.stopping) return;
    live.stopping = true;
    this.host.onStatus("Stopping…");
    try {
      await this.insist(() => cancelTask(live.taskId));
    } catch (problem) {
      live.stopping = false;
      if (!this.signal.aborted) this.host.onProblem(problem.message);
    }
  }

  /** A person's answer to a tool that asks first. With the last one its turn goes on. */
  async decide(messageId, { tool, approved, reason }) {
    const { taskId } = this.log.views.get(messageId);
    const onWait = (problem) => tool.approval.tell(`${problem.message} Trying again…`);
    const retry = { signal: this.signal, onWait, tries: SEND_TRIES };
    tool.sending();
    try {
      const { status } = await persist(() => answerApproval(taskId, tool.callId, approved, reason), retry);
      tool.answered(approved, reason);
      this.host.onSent();
      if (status === "accepted") this.refresh();
      else if (!this.live) this.setLive(null);
    } catch (problem) {
      if (!this.signal.aborted) this.undecided(tool, problem);
    }
  }

  undecided(tool, problem) {
    const sentence = NOT_WANTED[problem.status] ?? problem.message;
    tool.notAnswered(sentence);
    this.host.onProblem(sentence);
    if (problem.status in NOT_WANTED) this.refresh();
  }
}

/** A turn to follow, out of what the server says of a task or of an accepted message. */
function liveTurn({ task_id, stream_url, message_id, assistant_message_id }) {
  return { taskId: task_id, streamUrl: stream_url, messageId: message_id, answerId: assistant_message_id };
}

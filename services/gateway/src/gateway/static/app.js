// The page: which conversation is shown, the composer, the list of conversations, and other tabs.

import { CommandList } from "./commands.js";
import { Conversation } from "./conversation.js";
import { Log } from "./log.js";
import { SessionList, addressOf, firstWords, sessionIn } from "./sessions.js";

// On a touch screen the focus would bring up the keyboard, over half of the page.
const HAS_KEYBOARD = matchMedia("(pointer: fine)").matches;
const find = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.log = new Log({ scroller: find("log"), list: find("messages"), more: find("more-messages"), jump: find("jump") });
    this.sessions = new SessionList({ list: find("sessions"), more: find("more-sessions") });
    this.text = find("text");
    this.commands = new CommandList({ text: this.text, list: find("commands"), onPick: () => this.fitText() });
    this.tabs = new BroadcastChannel("sluiceway");
    this.conversation = null;
  }

  start() {
    window.addEventListener("hashchange", () => this.route());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.lookAgain());
    this.tabs.addEventListener("message", ({ data }) => this.heard(data));
    this.listen();
    this.route();
    this.refreshSessions();
  }

  listen() {
    find("composer").addEventListener("submit", (event) => this.submit(event));
    find("stop").addEventListener("click", () => this.conversation.stop().then(() => this.text.focus()));
    find("more-messages").addEventListener("click", () => this.conversation.showOlder());
    find("new-chat").addEventListener("click", () => this.closeMenu());
    find("sessions").addEventListener("click", () => this.closeMenu());
    find("menu").addEventListener("click", () => this.openMenu());
    find("scrim").addEventListener("click", () => this.closeMenu());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.closeMenu());
    this.text.addEventListener("input", () => this.written());
    find("messages").addEventListener("approval", (event) => this.decide(event));
    this.text.addEventListener("keydown", (event) => this.key(event));
  }

  // Which conversation

  route() {
    const sessionId = sessionIn(location.hash);
    if (sessionId !== null && this.conversation?.sessionId === sessionId) return;
    this.open(sessionId);
  }

  open(sessionId) {
    this.conversation?.close();
    this.log.clear();
    this.onProblem("");
    this.onTurn(false);
    this.onStatus("");
    this.setTitle(null);
    const conversation = new Conversation(this.log, this.hostFor(() => this.conversation === conversation), sessionId);
    this.conversation = conversation;
    this.sessions.mark(sessionId);
    find("welcome").hidden = sessionId !== null;
    if (HAS_KEYBOARD) this.text.focus();
    conversation.refresh();
  }

  /** What a conversation tells the page, for as long as it is the one that is shown. */
  hostFor(isShown) {
    const when = (tell) => (argument) => isShown() && tell(argument);
    return {
      onStatus: when((text) => this.onStatus(text)),
      onTurn: when((running) => this.onTurn(running)),
      onSession: when((session) => this.onSession(session)),
      onSent: when(() => this.onSent()),
      onReturn: when((text) => this.returnText(text)),
      onProblem: (sentence) => this.onProblem(sentence),
      onEnd: () => this.changed(),
    };
  }

  onSession(session) {
    this.sessions.mark(session.id, session.has_more ? "" : this.log.firstText);
    this.setTitle(this.sessions.titleOf(session));
  }

  onSent() {
    const { sessionId } = this.conversation;
    if (location.hash !== addressOf(sessionId)) history.replaceState(null, "", addressOf(sessionId));
    this.changed();
  }

  onStatus(text) {
    const status = find("status");
    if (status.textContent !== text) status.textContent = text;
  }

  onTurn(running) {
    find("stop").hidden = !running;
  }

  onProblem(sentence) {
    const alert = find("alert");
    alert.textContent = sentence;
    alert.hidden = !sentence;
  }

  setTitle(title) {
    find("title").textContent = title ?? "New chat";
    document.title = title ? `${title} – Sluiceway` : "Sluiceway";
  }

  // The list, and other tabs

  refreshSessions() {
    // What passes by itself is told where the conversation waits for it.
    return this.sessions.refresh().catch((problem) => problem.passing || this.onProblem(problem.message));
  }

  /** Something of the conversation that is shown has changed: the list and other tabs want to know. */
  changed() {
    const { sessionId } = this.conversation;
    this.tabs.postMessage({ sessionId });
    this.refreshSessions();
  }

  heard({ sessionId }) {
    this.refreshSessions();
    if (this.conversation.sessionId === sessionId) this.conversation.refresh();
  }

  lookAgain() {
    this.refreshSessions();
    this.conversation.refresh();
  }

  // The composer

  submit(event) {
    event.preventDefault();
    const text = this.text.value.trim();
    if (!text) return;
    this.text.value = "";
    this.commands.close();
    this.fitText();
    this.onProblem("");
    find("welcome").hidden = true;
    this.conversation.send(text);
    if (this.log.firstText === text) this.setTitle(firstWords(text));
    this.sessions.mark(this.conversation.sessionId, this.log.firstText);
    this.text.focus();
  }

  written() {
    this.fitText();
    this.commands.update();
  }

  key(event) {
    if (this.commands.key(event)) return;
    // While an input method composes a character, Enter is its own.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    find("composer").requestSubmit();
  }

  decide({ target, detail }) {
    this.onProblem("");
    this.conversation.decide(target.closest("article").dataset.messageId, detail);
  }

  returnText(text) {
    this.text.value = this.text.value ? `${text}\n${this.text.value}` : text;
    this.fitText();
    this.text.focus();
  }

  fitText() {
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight}px`;
  }

  // The list on a narrow screen

  openMenu() {
    this.toggleMenu(true);
    find("new-chat").focus();
  }

  closeMenu() {
    if (find("scrim").hidden) return;
    this.toggleMenu(false);
    find("menu").focus();
  }

  toggleMenu(open) {
    find("sidebar").classList.toggle("open", open);
    find("scrim").hidden = !open;
    find("menu").setAttribute("aria-expanded", String(open));
  }
}

new Page().start();

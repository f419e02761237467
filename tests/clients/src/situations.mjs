// What happens to a chat, whatever client it is in. Each ends with what is on the screen; the server has to have the same.

import { seen, textOf } from "./server.mjs";
import { pause, until } from "./waiting.mjs";

/** Slow enough to be met in the middle. */
const slow = (name) => `${name} [[tokens=24 rate=40]]`;
const quick = (name) => `${name} [[tokens=4 rate=0]]`;
const last = (driver) => driver.screen().at(-1);

async function answered(driver, count) {
  await until(() => driver.status() === "ready" && seen(driver.screen()).length === count, `${count} messages are there, and nothing runs`);
}

/** Until some of the answer is on the screen. */
const begun = (driver) => until(() => last(driver)?.role === "assistant" && textOf(last(driver)).length > 10, "the answer has begun");

async function sent({ open, name }, text = quick(name)) {
  const driver = await open();
  driver.send(text);
  await answered(driver, 2);
  return driver;
}

export const SITUATIONS = {
  send: sent,

  async "second message"(cell) {
    const driver = await sent(cell);
    driver.send(quick(`second ${cell.name}`));
    await answered(driver, 4);
    return driver;
  },

  /** On a gateway that wants a token. */
  "signed in": sent,

  async StrictMode({ open, name }) {
    const driver = await open({ strict: true });
    driver.send(quick(name));
    await answered(driver, 2);
    return driver;
  },

  async reload({ open, name, server }) {
    const before = await open();
    before.send(slow(name));
    await begun(before);
    before.close();
    const driver = await open({ messages: await server.history(before.sessionId()), resume: true });
    await answered(driver, 2);
    return driver;
  },

  async "second tab"({ open, name, server }) {
    const first = await open();
    first.send(slow(name));
    await begun(first);
    const driver = await open({ messages: await server.history(first.sessionId()), resume: true });
    await answered(driver, 2);
    await answered(first, 2);
    if (textOf(last(first)) !== textOf(last(driver))) throw new Error("two tabs show two answers");
    return driver;
  },

  async "drop, and back in time"({ open, name, net, back }) {
    net.cut("text-delta", "error");
    const driver = await open();
    driver.send(slow(name));
    await back(driver);
    await answered(driver, 2);
    return driver;
  },

  async "drop, and back after the end"({ open, name, net, server, back }) {
    net.cut("text-delta", "error");
    const driver = await open();
    driver.send(slow(name));
    await until(() => last(driver)?.role === "assistant" || driver.status() === "error", "the connection is gone");
    await server.ended(driver.sessionId());
    await back(driver);
    await answered(driver, 2);
    return driver;
  },

  /** As a proxy does that closes what it should break: the half answer looks whole. */
  async "a clean end too early, and back after the end"({ open, name, net, server, back }) {
    net.cut("text-delta", "end");
    const driver = await open();
    driver.send(slow(name));
    await until(() => last(driver)?.role === "assistant" && driver.status() !== "submitted", "the connection is closed");
    await server.ended(driver.sessionId());
    await back(driver);
    await answered(driver, 2);
    return driver;
  },

  async unmount({ open, name, server }) {
    const before = await open();
    before.send(slow(name));
    await begun(before);
    before.close();
    await server.ended(before.sessionId());
    return open({ messages: await server.history(before.sessionId()) });
  },

  async regenerate(cell) {
    const driver = await sent(cell);
    const old = last(driver).id;
    driver.regenerate();
    await until(() => driver.status() === "ready" && last(driver)?.role === "assistant" && last(driver).id !== old, "there is another answer");
    await answered(driver, 2);
    return driver;
  },

  async "edit the last message"(cell) {
    const driver = await sent(cell);
    driver.send(quick(`second ${cell.name}`));
    await answered(driver, 4);
    driver.edit(driver.screen()[2].id, quick(`edited ${cell.name}`));
    await until(() => driver.screen()[2] && textOf(driver.screen()[2]).startsWith("edited"), "it is edited");
    await answered(driver, 4);
    return driver;
  },

  /** The second of three: what follows goes. */
  async "edit an older message"(cell) {
    const driver = await sent(cell);
    for (const [count, text] of [[4, "second"], [6, "third"]]) {
      driver.send(quick(`${text} ${cell.name}`));
      await answered(driver, count);
    }
    driver.edit(driver.screen()[2].id, quick(`edited ${cell.name}`));
    await until(() => driver.screen().length <= 4 && textOf(driver.screen()[2] ?? { parts: [] }).startsWith("edited"), "it is edited");
    await answered(driver, 4);
    return driver;
  },

  async "edit the first message"(cell) {
    const driver = await sent(cell);
    driver.send(quick(`second ${cell.name}`));
    await answered(driver, 4);
    driver.edit(driver.screen()[0].id, quick(`edited ${cell.name}`));
    await until(() => driver.screen().length <= 2 && textOf(driver.screen()[0] ?? { parts: [] }).startsWith("edited"), "it is edited");
    await answered(driver, 2);
    return driver;
  },

  async stop({ open, name, server }) {
    const driver = await open();
    driver.send(`${name} [[tokens=2000 rate=40]]`);
    await begun(driver);
    await driver.stop();
    await until(() => driver.status() === "ready", "it has stopped");
    await server.ended(driver.sessionId());
    return driver;
  },

  /** What a person reads of it is one sentence, and the chat can be used. */
  async "error, then send"({ open, name }) {
    const driver = await open();
    driver.send(`${name} [[status=400]]`);
    await until(() => driver.status() === "error", "it has failed");
    const said = driver.error();
    if (!/^[A-Z][^{}\n]{8,300}$/.test(said)) throw new Error(`no sentence: ${said}`);
    driver.send(quick(`again ${name}`));
    await answered(driver, 3);
    return driver;
  },

  async "idle, with resume"({ open, net }) {
    const driver = await open({ resume: true });
    await until(() => net.asked.some(({ status }) => status), "it has asked");
    await pause(700);
    if (net.asked.length > 5) throw new Error(`asked ${net.asked.length} times`);
    return driver;
  },

  async "approval, yes"(cell) {
    return approval(cell, true);
  },

  async "approval, no"(cell) {
    return approval(cell, false);
  },

  async "approval, two"({ open, name }) {
    const driver = await open();
    driver.send(`two approvals ${name}`);
    await until(() => driver.status() === "ready" && allAsked(driver).length === 2, "it asks for both");
    for (const approvalId of allAsked(driver)) driver.approve(approvalId, true);
    await until(() => driver.status() === "ready" && textOf(last(driver)).includes("Both."), "it went on");
    return driver;
  },

  async "approval after a reload"(cell) {
    const { open, name, server } = cell;
    const before = await open();
    before.send(`/careful ${name}`);
    await until(() => before.status() === "ready" && asked(before), "it asks");
    before.close();
    const driver = await open({ messages: await server.history(before.sessionId()) });
    driver.approve(asked(driver), true);
    await until(() => driver.status() === "ready" && last(driver).parts.some((part) => part.state === "output-available"), "it went on");
    return driver;
  },

  async "approval, then a reload"(cell) {
    const before = await approval(cell, true);
    before.close();
    const driver = await cell.open({ messages: await cell.server.history(before.sessionId()) });
    await driver.resume();
    if (driver.error()) throw new Error(driver.error());
    return driver;
  },

  async "client tool"({ open, name }) {
    const tools = { where_am_i: { description: "The place.", parameters: { type: "object", properties: {} } } };
    const driver = await open({ body: { tools }, declared: tools, tools: { where_am_i: { lat: 1 } } });
    driver.send(`client tool ${name}`);
    await answered(driver, 2);
    return driver;
  },

  /** One tool answers by itself, another fails when a person comes back, a third needs his yes; and a second tab has the
   *  same on its screen, and says something else, too late. */
  async "client tools, an approval, a reload"({ open, name, server }) {
    const tools = { where_am_i: { description: "The place.", parameters: { type: "object", properties: {} } }, ask_me: { description: "A question." } };
    const options = { body: { tools }, tools: { where_am_i: { lat: 1 } } };
    const before = await open(options);
    before.send(`three tools ${name}`);
    await until(() => before.status() === "ready" && stateOf(before, "where_am_i") === "output-available" && asked(before), "it asks");
    before.close();
    const messages = await server.history(before.sessionId());
    const [driver, other] = await Promise.all([open({ ...options, messages }), open({ ...options, messages })]);
    for (const tab of [driver, other]) tab.output({ tool: "where_am_i", toolCallId: "call_w", output: { lat: tab === driver ? 1 : 2 } });
    driver.output({ tool: "ask_me", toolCallId: "call_a", state: "output-error", errorText: "nobody is there" });
    driver.approve(asked(driver), true);
    await until(() => driver.status() === "ready" && textOf(last(driver)).includes("All three."), "it went on");
    other.output({ tool: "ask_me", toolCallId: "call_a", output: "too late" });
    other.approve(asked(other), false);
    await until(() => ["ready", "error"].includes(other.status()) && !asked(other), "the other was told");
    const said = (await server.history(driver.sessionId())).at(-1).parts.filter(({ toolCallId }) => toolCallId);
    const states = said.map(({ state, output, errorText }) => [state, output ?? errorText]);
    const wanted = [["output-available", { lat: 1 }], ["output-error", "nobody is there"], ["output-available", "carefully: hello"]];
    if (JSON.stringify(states) !== JSON.stringify(wanted)) throw new Error(`the server has ${JSON.stringify(states)}`);
    other.close();
    return driver;
  },

  async file({ open, name, server }) {
    const driver = await open();
    driver.send(`file ${name}`, { url: "data:text/plain;base64,YSBzbHVpY2U=", filename: "notes.txt", mediaType: "text/plain" });
    await answered(driver, 2);
    const [question] = await server.history(driver.sessionId());
    const file = question.parts.find(({ type }) => type === "file");
    if (file?.filename !== "notes.txt" || !file.url.startsWith("/api/chat/files/")) throw new Error(`no file: ${JSON.stringify(question)}`);
    return driver;
  },
};

const stateOf = (driver, tool) => last(driver)?.parts?.find(({ type }) => type === `tool-${tool}`)?.state;
const allAsked = (driver) => (last(driver)?.parts ?? []).filter((part) => part.state === "approval-requested").map(({ approval }) => approval.id);
const asked = (driver) => allAsked(driver)[0];

async function approval({ open, name }, approved) {
  const driver = await open();
  driver.send(`/careful ${name}`);
  await until(() => driver.status() === "ready" && asked(driver), "it asks");
  driver.approve(asked(driver), approved);
  const state = approved ? "output-available" : "output-denied";
  await until(() => driver.status() === "ready" && last(driver).parts.some((part) => part.state === state), "it went on");
  return driver;
}

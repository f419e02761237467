// Every stock client in every situation that it can be in, all against one gateway.

import { DRIVERS } from "./drivers.mjs";
import { Net } from "./net.mjs";
import { seen, Server } from "./server.mjs";
import { SITUATIONS } from "./situations.mjs";
import { pause, until } from "./waiting.mjs";

const HOOKS = Object.keys(SITUATIONS);
const ASSISTANT_UI = ["send", "second message", "StrictMode", "regenerate", "edit the last message", "edit an older message", "stop", "error, then send", "signed in", "reload", "unmount", "approval, yes", "approval, no", "approval, two", "approval after a reload", "client tool", "file"];
const WORKFLOW = ["send", "signed in", "second message", "StrictMode", "drop, and back in time", "drop, and back after the end", "a clean end too early, and back after the end", "unmount", "stop", "idle, with resume", "file"];

// Nobody comes back at once. (What a connection brought last is still being put on the screen when its end is told.)
const AWAY_MS = 150;

const DROPS = ["drop, and back in time", "drop, and back after the end", "a clean end too early, and back after the end"];
// What a client does wrong by itself, whatever the server sends; docs/clients.md tells it, and the way around it.
const ITS_OWN_FAULT = [
  ["useChat 6", "drop, and back in time"],
  ["useChat 6", "drop, and back after the end"],
];
const isRight = ([client, situation]) => !ITS_OWN_FAULT.some(([one, other]) => one === client && other === situation);

export const CELLS = [
  ...HOOKS.map((situation) => ["useChat 7", situation]),
  ...HOOKS.map((situation) => ["useChat 6", situation]),
  ...DROPS.map((situation) => ["useChat 7 with resumingFetch", situation]),
  ...DROPS.map((situation) => ["useChat 6 with resumingFetch", situation]),
  ...ASSISTANT_UI.map((situation) => ["assistant-ui", situation]),
  ...["edit the first message", "edit an older message", "regenerate"].map((situation) => ["assistant-ui with parentId", situation]),
  ...WORKFLOW.map((situation) => ["WorkflowChatTransport", situation]),
].filter(isRight);

/** The app of a person who comes back; some clients do so by themselves. */
async function back(driver, client) {
  if (client === "WorkflowChatTransport" || client.endsWith("resumingFetch")) return;
  const gone = () => driver.status() === "error" || (driver.status() === "ready" && driver.screen().at(-1)?.role === "assistant");
  await until(gone, "the connection is gone");
  await pause(AWAY_MS);
  await driver.resume();
}

/** What is on the screen, once it is what the server has: a component may be a frame behind, or ask for the rest by itself. */
async function same(driver, history) {
  let whole = "";
  const shown = () => seen(driver.screen());
  const isSame = async () => {
    whole = JSON.stringify(seen(await history()));
    return JSON.stringify(shown()) === whole;
  };
  await until(isSame, "the screen is the history").catch(() => {
    throw new Error(`the screen has ${JSON.stringify(shown())}\nthe server ${whole}`);
  });
  return shown();
}

async function run(client, situation, openToAll, { signedIn, run }) {
  const { base, headers } = situation === "signed in" ? signedIn : { base: openToAll, headers: {} };
  const id = `${run}-${client}-${situation}`.replaceAll(/[^A-Za-z0-9]+/g, "-").slice(0, 60);
  const net = new Net({ headers });
  const server = new Server(base, headers);
  const open = (options = {}) => {
    const body = client === "WorkflowChatTransport" ? { id, ...options.body } : options.body;
    return DRIVERS[client]({ base, net, id, ...options, body });
  };
  const driver = await SITUATIONS[situation]({ open, net, server, name: id, back: (one) => back(one, client) });
  const sessionId = driver.sessionId();
  if (situation.startsWith("idle")) return { screen: [], history: [], asked: net.asked.length };
  const screen = await same(driver, () => server.history(sessionId));
  return { sessionId, screen: screen.map(({ role, text }) => [role, text]) };
}

/** What came of each cell. `bases`: the gateway's address, once for each cell that is to run at a time; a browser opens
 *  six connections to one name. */
export async function runMatrix(options) {
  const waiting = CELLS.filter(([client, situation]) => !options.only || `${client}: ${situation}`.includes(options.only));
  const results = [];
  const worker = async (base) => {
    for (let cell = waiting.shift(); cell; cell = waiting.shift()) {
      const [client, situation] = cell;
      const begun = Date.now();
      const outcome = await run(client, situation, base, options).catch((error) => ({ failure: String(error.stack ?? error) }));
      results.push({ client, situation, seconds: (Date.now() - begun) / 1000, ...outcome });
    }
  };
  await Promise.all(options.bases.map(worker));
  return results;
}

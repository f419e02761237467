// The stock clients, each as its own documentation shows it: a component of React, and what a person does with it.

import { AssistantRuntimeProvider, useAssistantTool } from "@assistant-ui/react";
import { AssistantChatTransport, createResumableSessionStorage, useChatRuntime } from "@assistant-ui/react-ai-sdk";
import { useChat } from "@ai-sdk/react";
import { useChat as useChat6 } from "@ai-sdk/react-6";
import { WorkflowChatTransport } from "@ai-sdk/workflow/client";
import * as ai from "ai";
import * as ai6 from "ai-6";
import { createElement, StrictMode, useEffect } from "react";
import { createRoot } from "react-dom/client";
import { resumingFetch } from "../../../web/src/client/resumingFetch.ts";
import { until } from "./waiting.mjs";

/** Resolves when it is there to be used; in StrictMode its effects have run twice by then. */
async function mounted(component, strict) {
  const place = document.body.appendChild(document.createElement("div"));
  const root = createRoot(place);
  let settled = false;
  function Whole() {
    useEffect(() => {
      const timer = setTimeout(() => (settled = true), 0);
      return () => clearTimeout(timer);
    }, []);
    return createElement(component);
  }
  root.render(strict ? createElement(StrictMode, null, createElement(Whole)) : createElement(Whole));
  await until(() => settled, "the component is there");
  return () => {
    root.unmount();
    place.remove();
  };
}

/** `useChat` with the transport that it has by default, or another one. */
function useChatDriver(hook, sdk, transportOf = ({ base, net }) => new sdk.DefaultChatTransport({ api: `${base}/api/chat`, fetch: net.fetch })) {
  return async (options) => {
    const { base, net, id, messages, resume = false, strict = false, body, tools } = options;
    const transport = transportOf({ ...options, body });
    const held = { finished: 0 };
    const more = tools
      ? {
          sendAutomaticallyWhen: (shown) => sdk.lastAssistantMessageIsCompleteWithToolCalls(shown) || sdk.lastAssistantMessageIsCompleteWithApprovalResponses(shown),
          onToolCall: ({ toolCall }) => {
            if (toolCall.toolName in tools) void held.chat.addToolOutput({ tool: toolCall.toolName, toolCallId: toolCall.toolCallId, output: tools[toolCall.toolName] });
          },
        }
      : { sendAutomaticallyWhen: sdk.lastAssistantMessageIsCompleteWithApprovalResponses };
    const unmount = await mounted(function Probe() {
      held.chat = hook({ id, messages, resume, transport, onFinish: () => void (held.finished += 1), ...more });
      return null;
    }, strict);
    return {
      sessionId: () => id,
      screen: () => held.chat.messages,
      status: () => held.chat.status,
      error: () => held.chat.error?.message ?? null,
      send: (text, file) => void held.chat.sendMessage({ text, ...(file && { files: [{ type: "file", ...file }] }) }, { body }),
      regenerate: () => void held.chat.regenerate({ body }),
      edit: (messageId, text) => void held.chat.sendMessage({ text, messageId }, { body }),
      resume: () => held.chat.resumeStream(),
      approve: (approvalId, approved) => void held.chat.addToolApprovalResponse({ id: approvalId, approved }),
      output: (answer) => void held.chat.addToolOutput(answer),
      stop: async () => {
        await fetch(`${base}/api/chat/${id}/stop`, { method: "POST", headers: net.headers });
      },
      close: unmount,
    };
  };
}

/** What a part of assistant-ui is in the AI SDK's words. */
function partOf(part) {
  if (part.type !== "tool-call") return part;
  const { approval, result } = part;
  if (approval?.approved === false) return { ...part, state: "output-denied" };
  if (result !== undefined) return { ...part, state: "output-available" };
  return { ...part, state: approval && approval.approved === undefined ? "approval-requested" : "input-available" };
}

const Tool = ({ tool }) => {
  useAssistantTool(tool);
  return null;
};

/** As its adapters for attachments make one. */
const attached = ({ url, filename, mediaType }) => ({
  id: filename, type: "file", name: filename, contentType: mediaType, status: { type: "complete" },
  content: [{ type: "file", data: url, mimeType: mediaType, filename }],
});

/** assistant-ui makes the chat's id itself, and edits and regenerates by a history that ends before. A component that
 *  comes back is told the history and the id. */
const assistantUi = (more = {}) => async ({ base, net, id, messages, strict = false, declared, tools = {} }) => {
  const held = {};
  const sessionId = () => net.posted("/api/chat").findLast(({ body }) => body.id)?.body.id;
  const known = messages && sessionId();
  const sameId = known && { prepareSendMessagesRequest: ({ messages, trigger, messageId, body }) => ({ body: { ...body, id: known, messages, trigger, messageId } }) };
  const resumable = { storage: createResumableSessionStorage({ key: id }), resumeApi: (taskId) => `${base}/api/chat/tasks/${taskId}/stream` };
  const transport = new AssistantChatTransport({ api: `${base}/api/chat`, fetch: net.fetch, resumable, ...sameId, ...more });
  const sendAutomaticallyWhen = declared ? ai.lastAssistantMessageIsCompleteWithToolCalls : ai.lastAssistantMessageIsCompleteWithApprovalResponses;
  const toolsOfClient = Object.entries(declared ?? {}).map(([toolName, tool]) => ({ toolName, type: "frontend", ...tool, execute: async () => tools[toolName] }));
  const unmount = await mounted(function Probe() {
    held.runtime = useChatRuntime({ transport, messages, sendAutomaticallyWhen });
    return createElement(AssistantRuntimeProvider, { runtime: held.runtime }, ...toolsOfClient.map((tool) => createElement(Tool, { key: tool.toolName, tool })));
  }, strict);
  const thread = () => held.runtime.thread;
  return {
    sessionId,
    screen: () => thread().getState().messages.map(({ id, role, content }) => ({ id, role, parts: content.map(partOf) })),
    status: () => (thread().getState().isRunning ? "streaming" : (thread().getState().messages.at(-1)?.status?.reason === "error" ? "error" : "ready")),
    error: () => {
      const said = thread().getState().messages.at(-1)?.status?.error;
      return typeof said === "object" ? (said?.message ?? JSON.stringify(said)) : said;
    },
    send: (text, file) => thread().append({ role: "user", content: [{ type: "text", text }], ...(file && { attachments: [attached(file)] }) }),
    regenerate: () => thread().getMessageByIndex(thread().getState().messages.length - 1).reload(),
    edit: (messageId, text) => {
      const { composer } = thread().getMessageById(messageId);
      composer.beginEdit();
      composer.setText(text);
      composer.send();
    },
    approve: (approvalId, approved) => {
      const last = thread().getState().messages.length - 1;
      const { toolCallId } = thread().getState().messages[last].content.find(({ approval }) => approval?.id === approvalId);
      void thread().getMessageByIndex(last).getMessagePartByToolCallId(toolCallId).respondToToolApproval({ approved });
    },
    stop: async () => {
      await fetch(`${base}/api/chat/${sessionId()}/stop`, { method: "POST", headers: net.headers });
    },
    close: unmount,
  };
};

/** Says of the first message that it is the first. */
const prepareSendMessagesRequest = ({ id, messages, trigger, messageId, body }) => ({
  body: { ...body, id, messages, trigger, messageId, parentId: messages.at(-2)?.id ?? null },
});

const resuming = (sdk) => ({ base, net }) => new sdk.DefaultChatTransport({ api: `${base}/api/chat`, fetch: resumingFetch({ fetch: net.fetch }) });
const workflow = ({ base, net }) => new WorkflowChatTransport({ api: `${base}/api/chat`, fetch: net.fetch });

export const DRIVERS = {
  "useChat 7": useChatDriver(useChat, ai),
  "useChat 6": useChatDriver(useChat6, ai6),
  "useChat 7 with resumingFetch": useChatDriver(useChat, ai, resuming(ai)),
  "useChat 6 with resumingFetch": useChatDriver(useChat6, ai6, resuming(ai6)),
  "assistant-ui": assistantUi(),
  "assistant-ui with parentId": assistantUi({ prepareSendMessagesRequest }),
  WorkflowChatTransport: useChatDriver(useChat, ai, workflow),
};

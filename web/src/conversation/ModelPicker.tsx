// Which model answers the next message, where the server has more than one to offer.

import { useEffect, useSyncExternalStore } from "react";
import { useConfig } from "../client/useConfig.ts";
import { useWords } from "../words/words.ts";
import type { Conversation } from "./conversation.ts";

export function ModelPicker({ conversation }: { conversation: Conversation }) {
  const words = useWords();
  const config = useConfig();
  // What is chosen, and what an answer that has just come says.
  useSyncExternalStore(conversation.subscribe, conversation.snapshot);
  useEffect(() => {
    if (config) conversation.model.offer(config.models);
  }, [config, conversation]);
  const models = config?.models ?? [];
  // Where it is not told which one answers by itself, that is a choice of its own.
  const choices = config?.default_model ? models : ["", ...models];
  if (!config || choices.length < 2 || models.length === 0) return null;
  return (
    <select id="model" aria-label={words.model} title={words.modelHint} value={conversation.model.name || choices[0]} onChange={(event) => conversation.model.choose(event.target.value)}>
      {choices.map((name) => (
        <option key={name} value={name}>
          {name || words.modelDefault}
        </option>
      ))}
    </select>
  );
}

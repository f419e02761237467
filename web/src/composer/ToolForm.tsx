// The arguments of the tool that is being called, as a form. What is filled in becomes the message's JSON.

import { useId } from "react";
import type { Tool, ToolArgument } from "../client/api.ts";
import { titled } from "../message/names.ts";
import { useWords } from "../words/words.ts";

interface Props {
  tool: Tool;
  onFill: (text: string) => void;
}

export const argumentsOf = (tool: Tool): [string, ToolArgument][] =>
  Object.entries(tool.parameters?.properties ?? {})
    .map(([name, argument]): [string, ToolArgument] => [name, given(argument)])
    .filter(([, { type }]) => ["string", "number", "integer", "boolean"].includes(type ?? ""));

/** Of what may also be null, as `str | None` is written: what it is where it is given. */
function given(argument: ToolArgument): ToolArgument {
  const [one, ...more] = argument.anyOf?.filter(({ type }) => type !== "null") ?? [];
  return one && more.length === 0 ? { ...argument, ...one } : argument;
}

export function ToolForm({ tool, onFill }: Props) {
  const words = useWords();
  const fields = argumentsOf(tool);
  const required = new Set(tool.parameters?.required ?? []);
  function fill(event: React.FormEvent<HTMLFormElement>): void {
    event.preventDefault();
    event.stopPropagation();
    const given = new FormData(event.currentTarget);
    const values = fields.flatMap(([name, argument]) => valueOf(name, argument, given.get(name)));
    onFill(values.length > 0 ? `/${tool.name} ${JSON.stringify(Object.fromEntries(values))}` : `/${tool.name}`);
  }
  return (
    <form id="arguments" aria-label={words.argumentsOf(tool.title ?? titled(tool.name))} onSubmit={fill}>
      {fields.map(([name, argument]) => (
        <Field key={name} name={name} argument={argument} optional={!required.has(name)} />
      ))}
      <button type="submit" className="button">
        {words.fill}
      </button>
    </form>
  );
}

function Field({ name, argument, optional }: { name: string; argument: ToolArgument; optional: boolean }) {
  const words = useWords();
  const id = useId();
  const type = argument.type === "boolean" ? "checkbox" : argument.type === "string" ? "text" : "number";
  return (
    <div className="argument">
      <label htmlFor={id}>
        {titled(name)} {optional && <span className="soft">({words.optional})</span>}
      </label>
      {argument.enum ? (
        <select id={id} name={name} required={!optional} defaultValue="">
          <option value="" />
          {argument.enum.map((value) => (
            <option key={String(value)}>{String(value)}</option>
          ))}
        </select>
      ) : (
        <input id={id} name={name} type={type} step={argument.type === "integer" ? 1 : "any"} required={!optional && type !== "checkbox"} placeholder={argument.description} title={argument.description} dir="auto" />
      )}
    </div>
  );
}

function valueOf(name: string, { type }: ToolArgument, given: FormDataEntryValue | null): [string, unknown][] {
  if (type === "boolean") return given === null ? [] : [[name, true]];
  if (typeof given !== "string" || given === "") return [];
  return [[name, type === "string" ? given : Number(given)]];
}

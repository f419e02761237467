import { focusBox } from "../ui/focused.ts";
import { Icon } from "../ui/Icon.tsx";
import { useWords } from "../words/words.ts";
import type { FilesToSend } from "./useFiles.ts";

/** The files that go with the next message, each with what became of it. */
export function ChosenFiles({ files, onRemove }: { files: FilesToSend; onRemove: (key: string) => void }) {
  const words = useWords();
  if (files.chosen.length === 0) return null;
  return (
    <ul id="chosen" aria-label={words.chosenFiles}>
      {files.chosen.map(({ key, name, preview, file, waits, why }) => (
        <li key={key} className={why ? "failure" : undefined} aria-busy={(file === null && why === null) || undefined}>
          {preview && !why ? <img src={preview} alt="" /> : <Icon name="file" />}
          <span className="name" dir="auto">
            {name || words.file}
          </span>
          <span aria-live="polite">{why ? why(words) : file === null ? (waits?.(words) ?? words.uploading) : ""}</span>
          <button type="button" className="icon" title={words.removeFile(name)} aria-label={words.removeFile(name)} onClick={() => (focusBox(), onRemove(key))}>
            ×
          </button>
        </li>
      ))}
    </ul>
  );
}

/** Chooses files by a dialog. */
export function AttachButton({ files }: { files: FilesToSend }) {
  const words = useWords();
  if (!files.accept) return null;
  return (
    <label id="attach" className="icon" title={words.attach}>
      <span className="unseen">{words.attach}</span>
      <Icon name="attach" />
      <input
        type="file"
        className="unseen"
        multiple
        accept={files.accept}
        onChange={(event) => {
          files.add([...(event.target.files ?? [])]);
          event.target.value = "";
        }}
      />
    </label>
  );
}

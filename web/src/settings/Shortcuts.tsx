import { Dialog } from "../ui/Dialog.tsx";
import { useWords } from "../words/words.ts";

export function Shortcuts({ onClose }: { onClose: () => void }) {
  const words = useWords();
  return (
    <Dialog title={words.shortcuts} onClose={onClose}>
      <dl className="keys">
        {words.keys.map(([key, does]) => (
          <div key={key}>
            <dt>
              {key.split("+").map((one, n) => (
                <kbd key={n}>{one}</kbd>
              ))}
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}

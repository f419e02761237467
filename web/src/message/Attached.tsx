import { useWords } from "../words/words.ts";
import type { Source } from "./parts.ts";

const isSafe = (url: string): boolean => /^(https?:|data:|blob:|\/)/i.test(url);

export function File({ url, mediaType, name }: { url: string; mediaType: string; name?: string }) {
  const words = useWords();
  const label = name || words.file;
  const own = url.startsWith("data:") || url.startsWith("/");
  if (mediaType.startsWith("image/") && own) {
    const picture = <img className="file" src={url} alt={name || words.image} loading="lazy" onLoad={(event) => event.currentTarget.classList.add("seen")} />;
    // In its own size, in another tab. Browsers open no `data:` there.
    return url.startsWith("/") ? <a href={url} target="_blank" rel="noopener noreferrer" title={words.openPicture}>{picture}</a> : picture;
  }
  if (!isSafe(url)) return <p className="file">{label}</p>;
  return (
    <a className="file button" href={url} download={name ?? true} target="_blank" rel="noopener noreferrer">
      {label}
    </a>
  );
}

export function Sources({ sources }: { sources: Source[] }) {
  const words = useWords();
  return (
    <section className="sources" aria-label={words.sources}>
      <h3>{words.sources}</h3>
      <ol>
        {sources.map(({ sourceId, url, title }) => (
          <li key={sourceId} dir="auto">
            {url && /^https?:/i.test(url) ? (
              <a href={url} data-address={title === undefined ? undefined : url} target="_blank" rel="noopener noreferrer nofollow">
                {title ?? url}
              </a>
            ) : (
              (title ?? url)
            )}
          </li>
        ))}
      </ol>
    </section>
  );
}

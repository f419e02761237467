// Sends what is filled in on /docs, as the browser that shows it: with its cookie, and what is said at the top of the page.

const MOST_SHOWN = 200_000;
// Streams break off by this, and so does whatever takes too long.
const running = new WeakMap();

addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.matches(".try")) void tryIt(event.target);
});
addEventListener("click", ({ target }) => {
  if (target.matches(".try .stop")) running.get(target.form)?.abort();
});

async function tryIt(form) {
  running.get(form)?.abort();
  const stopping = new AbortController();
  running.set(form, stopping);
  const [status, shown, stop] = [".status", ".answer", ".stop"].map((one) => form.querySelector(one));
  const { url, options } = requestOf(form);
  shown.replaceChildren();
  shown.hidden = false;
  stop.hidden = false;
  status.textContent = `${options.method} ${url} …`;
  try {
    const response = await fetch(url, { ...options, signal: stopping.signal, redirect: "manual", cache: "no-store" });
    await show(response, { url, status, shown });
  } catch (error) {
    status.textContent = error.name === "AbortError" ? "Stopped." : `No answer: ${error.message}`;
  }
  if (running.get(form) === stopping) stop.hidden = true;
}

function requestOf(form) {
  const { method } = form.dataset;
  const headers = new Headers(signedIn());
  const query = new URLSearchParams();
  let path = form.dataset.path;
  let body;
  for (const field of form.elements) {
    const { in: place, name } = field.dataset;
    if (place === "body" && field.value.trim()) [body] = [field.value, headers.set("content-type", "application/json")];
    else if (place === "file") body = field.files[0] ?? "";
    else if (!place || field.value === "") continue;
    else if (place === "path") path = path.replace(`{${name}}`, encodeURIComponent(field.value));
    else if (place === "query") query.set(name, field.value);
    else if (place === "header") headers.set(name, field.value);
  }
  return { url: query.size > 0 ? `${path}?${query}` : path, options: { method, headers, ...(body !== undefined && { body }) } };
}

function signedIn() {
  const { kind, secret } = document.getElementById("who").elements;
  if (!secret.value.trim()) return {};
  return kind.value === "key" ? { "x-api-key": secret.value.trim() } : { authorization: `Bearer ${secret.value.trim()}` };
}

async function show(response, { url, status, shown }) {
  const type = response.headers.get("content-type") ?? "";
  status.textContent = response.type === "opaqueredirect" ? "It leads to another page:" : `${response.status} ${response.statusText} ${type}`;
  if (response.type === "opaqueredirect") shown.append(link(url, "open it"));
  else if (type.startsWith("text/event-stream")) await follow(response, shown);
  else if (/json/.test(type)) shown.textContent = pretty(await response.text()).slice(0, MOST_SHOWN);
  else if (/^text\//.test(type) || !type) shown.textContent = (await response.text()).slice(0, MOST_SHOWN);
  else {
    const file = await response.blob();
    shown.append(link(URL.createObjectURL(file), `${file.size} bytes: save them`, true));
  }
}

function link(href, words, download = false) {
  return Object.assign(document.createElement("a"), { href, textContent: words, ...(download ? { download: "" } : { target: "_blank" }) });
}

async function follow(response, shown) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
    const atEnd = shown.scrollHeight - shown.scrollTop - shown.clientHeight < 40;
    shown.append(value);
    if (atEnd) shown.scrollTop = shown.scrollHeight;
  }
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

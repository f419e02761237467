// In the page itself, beside its program: the words of a language other than English are fetched with it, and not a round trip
// later. words.ts has the say: what is guessed wrongly here costs time and nothing else.
{
  const names = __WORDS__;
  let language;
  try {
    language = JSON.parse(localStorage.getItem("sluiceway.preferences"))?.language;
  } catch {}
  language ??= navigator.languages.map((one) => one.split("-")[0]).find((one) => one === "en" || names[one]);
  if (names[language]) {
    const link = document.createElement("link");
    link.rel = "modulepreload";
    link.href = `/static/assets/${names[language]}`;
    document.head.append(link);
  }
}

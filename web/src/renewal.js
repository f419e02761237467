// In the page itself, before its program: where that does not come, since another version of the gateway answers now or the
// network went, the page is asked for again until it does, ever less often. What has been typed by then is kept for it.
{
  const key = "sw:renewals";
  let failed = false;
  const again = async () => {
    const answer = await fetch(location.pathname, { cache: "no-cache" }).catch(() => null);
    if (!answer?.ok) return setTimeout(again, 5000);
    // Also what is typed until it goes.
    addEventListener("pagehide", () => {
      const typed = document.querySelector("textarea")?.value;
      if (typed) sessionStorage.setItem("sw:typed", typed);
    });
    location.reload();
  };
  const renew = (event) => {
    if (failed || !(event.target instanceof HTMLScriptElement)) return;
    failed = true;
    const tries = Number(sessionStorage.getItem(key));
    sessionStorage.setItem(key, String(tries + 1));
    setTimeout(again, Math.min(60, 2 ** tries) * 500 * (1 + Math.random()));
  };
  addEventListener("error", renew, true);
  addEventListener("load", () => failed || sessionStorage.removeItem(key));
}

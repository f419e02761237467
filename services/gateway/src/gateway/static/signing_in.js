// Where the server wants to know who asks: to the identity provider, and back to the same place.

const CONFIG = "/config";
const TRIED = "sluiceway-sign-in";
// Who comes back and is refused again is not sent around in circles.
const PAUSE_MS = 30_000;

/** Leaves the page, where the server knows a place to sign in at. Whoever calls shows what was refused meanwhile. */
export async function signIn() {
  const last = Number(sessionStorage.getItem(TRIED) ?? 0);
  if (Date.now() - last < PAUSE_MS) return;
  const response = await fetch(CONFIG).catch(() => null);
  const url = response?.ok ? (await response.json()).sign_in_url : null;
  if (!url) return;
  sessionStorage.setItem(TRIED, String(Date.now()));
  const place = location.pathname + location.search + location.hash;
  location.assign(`${url}?return_to=${encodeURIComponent(place)}`);
}

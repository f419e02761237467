// The address of a shared conversation. The token is in the fragment: the server of the page, and other sites, do not see it.

export function tokenIn(hash: string): string | null {
  return /^#\/s\/([A-Za-z0-9_-]{1,100})$/.exec(hash)?.[1] ?? null;
}

import { useAnnounced } from "./announced.ts";

/** There from the beginning: a region that comes with its text is not read. */
export const Announcements = () => (
  <p id="announced" className="unseen" aria-live="polite">
    {useAnnounced()}
  </p>
);

const PATHS = {
  menu: "M3 6h14M3 10h14M3 14h14",
  copy: "M7 7h9v9H7zM4 13V4h9",
  check: "m4 10.5 4 4 8-9",
  again: "M15.5 8A6 6 0 1 0 16 12M16 4v4h-4",
  edit: "M4 16l1-4 8-8 3 3-8 8zM11.5 5.5l3 3",
  back: "m12 5-5 5 5 5",
  forth: "m8 5 5 5-5 5",
  info: "M10 9v5M10 6.2v.1M10 3a7 7 0 1 1 0 14 7 7 0 0 1 0-14z",
  more: "M5 10h.01M10 10h.01M15 10h.01",
  settings: "M4 6h7M15 6h1M4 14h1M9 14h7M13 4.2v3.6M7 12.2v3.6",
  keys: "M3 6h14v8H3zM6 9h.01M9 9h.01M12 9h.01M15 9h.01M7 12h6",
  attach: "M14 8l-5 5a2 2 0 0 1-3-3l6-6a3 3 0 0 1 4.5 4.5l-6.5 6.5",
  up: "M6 9l3-6c1.5 0 2 1 2 2v3h4.5l-1 8H6M3 9h3v7H3z",
  down: "M6 11l3 6c1.5 0 2-1 2-2v-3h4.5l-1-8H6M3 4h3v7H3z",
  temporary: "M8.2 3.2a7 7 0 0 1 3.6 0M15 5.1a7 7 0 0 1 1.8 3.1M16.8 11.8a7 7 0 0 1-1.8 3.1M11.8 16.8a7 7 0 0 1-3.6 0M5 14.9a7 7 0 0 1-1.8-3.1M3.2 8.2A7 7 0 0 1 5 5.1M10 6.5V10l2.5 1.5",
  plus: "M10 4v12M4 10h12",
  file: "M6 3h6l3 3v11H6zM12 3v3h3",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

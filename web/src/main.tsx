import { createRoot } from "react-dom/client";
import { App } from "./app/App.tsx";
import { Guard } from "./app/Guard.tsx";
import { applyPreferences, readPreferences } from "./settings/preferences.ts";
import "./style/style.css";

applyPreferences(readPreferences());
createRoot(document.getElementById("root")!).render(
  <Guard>
    <App />
  </Guard>,
);

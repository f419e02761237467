import { createRoot } from "react-dom/client";
import { applyPreferences, readPreferences } from "../settings/preferences.ts";
import { Operations } from "./Operations.tsx";
import "../style/tokens.css";
import "./ops.css";

applyPreferences(readPreferences());
createRoot(document.getElementById("root")!).render(<Operations />);

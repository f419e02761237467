import { useEffect, useState } from "react";
import { serviceConfig, type ServiceConfig } from "./api.ts";
import { Problem } from "./problem.ts";

/** What the server can be asked for; null: not known yet, or it did not say. */
export function useConfig(): ServiceConfig | null {
  const [config, setConfig] = useState<ServiceConfig | null>(null);
  useEffect(() => {
    serviceConfig().then(setConfig, (error: unknown) => {
      if (!(error instanceof Problem)) throw error;
    });
  }, []);
  return config;
}

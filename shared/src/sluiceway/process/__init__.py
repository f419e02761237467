"""What every process has: settings, logs, health, metrics, an orderly end."""

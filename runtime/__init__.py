"""What every process needs and no wire carries: settings, key files, logs, metrics, signals."""

"""What long commands share: locks, signals, streams, config files, memory."""

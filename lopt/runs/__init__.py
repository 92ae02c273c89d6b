"""What long commands share: workdirs, checkpoints, processes, signals, locks, config files."""

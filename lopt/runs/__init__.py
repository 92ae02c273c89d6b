"""What long commands share: workdirs, checkpoints, progress, processes, signals, locks, config files."""

"""The machinery of long commands: workdirs, checkpoints, processes, signals, locks, configs."""

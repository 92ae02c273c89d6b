"""Meta-training from the command line: settings, problems, the run, and what it saves."""

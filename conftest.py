"""Modules that pytest does not look for doctests in."""

from importlib.util import find_spec

# Commands: each defines the flag --config, which one process can have once.
collect_ignore = ["lopt/meta_train.py", "lopt/predict/zoo.py"]
if find_spec("learned_optimization") is None:
    collect_ignore += ["lopt/interop/learned_optimization", "tests/external_tasks.py"]

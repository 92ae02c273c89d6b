"""Modules that pytest does not look for doctests in."""

from importlib.util import find_spec

# A command, as each __main__ is: it defines the flag --config, which one process can have once.
collect_ignore = ["lopt/predict/zoo.py"]
if find_spec("learned_optimization") is None:
    collect_ignore += ["lopt/interop/learned_optimization", "tests/external_tasks.py"]

"""What of the package has no doctests where a library of others is missing."""

from importlib.util import find_spec

collect_ignore = []
if find_spec("learned_optimization") is None:
    collect_ignore.append("lopt/interop/learned_optimization")

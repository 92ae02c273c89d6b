"""Learned optimizers in JAX: meta-train them, use them through optax, compare them with Adam."""

import signal
import sys
from importlib.metadata import version

if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # `python -m lopt.compare`: Ctrl-C during the imports below, of seconds, ends it quietly
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from lopt.rules import LearnedOptimizer, load, optimizer, save
from lopt.symmetry import Axes, PermutationSpec, check_spec, infer_spec, register_rule

__version__ = version("lopt")

__all__ = [
    "Axes",
    "LearnedOptimizer",
    "PermutationSpec",
    "__version__",
    "check_spec",
    "infer_spec",
    "load",
    "optimizer",
    "register_rule",
    "save",
]

"""Programs as users run them; the tests' own compile without most of XLA's optimizations."""

import jax

NORMAL = {"xla_backend_optimization_level": 3}
"""XLA's default, which `XLA_FLAGS` in `processes.py` lowers."""


def compiled(fn, *args):
    """A function of such arguments, compiled at XLA's normal level."""
    return jax.jit(fn).lower(*args).compile(compiler_options=NORMAL)

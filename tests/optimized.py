"""Programs as users run them; the tests' own compile without most of XLA's optimizations."""

import jax

NORMAL = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
"""XLA's defaults, which `XLA_FLAGS` in `processes.py` changes."""


def compiled(fn, *args):
    """A function of such arguments, compiled at XLA's normal level."""
    return jax.jit(fn).lower(*args).compile(compiler_options=NORMAL)

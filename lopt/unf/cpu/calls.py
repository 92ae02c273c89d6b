"""Functions whose temporaries XLA frees before it starts on the next."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from lopt.base.mesh import mesh_of
from lopt.unf import backend


def separately(
    function: Callable[..., Any], *arrays: Any, static: tuple[Hashable, ...] = ()
) -> Any:
    """`function(*static, *arrays)`, as a call that XLA's CPU backend keeps a call.

    A network's tensors are independent until their statistics meet, so that XLA may start on all
    at once and hold what each needs. A call ends before the next begins: an update of a GPT's
    params holds 5 to 10 bytes of temporaries a parameter in place of 29
    ("Compiling the update of a deep network" in docs/research-log.md). Over a mesh, and on other
    backends, the function, which has to be hashable and pure, is called plainly.
    """
    if not backend.on_cpu() or mesh_of(arrays) is not None:
        return function(*static, *arrays)
    with set_xla_metadata(inlineable="false"):
        return _call(function, static, *arrays)


@partial(jax.jit, static_argnums=(0, 1))
def _call(function: Callable[..., Any], static: tuple[Hashable, ...], *arrays: Any) -> Any:
    with set_xla_metadata(inlineable=None):
        return function(*static, *arrays)

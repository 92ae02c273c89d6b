"""The external library, imported where it is needed, and its kind of keys."""

import importlib
from types import ModuleType

import jax
import jax.numpy as jnp
from jaxtyping import Array

from lopt.base.errors import UserError
from lopt.base.parts import Parts

LIBRARY = "learned_optimization"

ANY = Parts(f"part of {LIBRARY}")
"""External parts, which have no names but `module:function`."""


def imported(module: str) -> ModuleType:
    """A module of the library, which may not be installed: then a `UserError`."""
    try:
        return importlib.import_module(f"{LIBRARY}.{module}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == LIBRARY:
            raise UserError(
                f"{LIBRARY} is not installed: pip install 'lopt[interop]' && pip install "
                f"--no-deps {LIBRARY}"
            ) from error
        raise UserError(
            f"{LIBRARY} needs {missing}, which is not installed: pip install 'lopt[interop]'"
        ) from error


def raw(key: Array) -> Array:
    """A key of the old kind: two integers, which haiku and the library check for."""
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key

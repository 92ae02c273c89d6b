"""Errors of too little memory, as one line that names what needed how much."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from lopt.base.errors import UserError


@contextmanager
def memory_for(what: str, fix: str) -> Iterator[None]:
    """Make a `UserError` with the size that was asked for of JAX's and NumPy's errors of memory.

    >>> import numpy as np
    >>> with memory_for("it", "make it smaller"):
    ...     np.empty(2**58)
    Traceback (most recent call last):
        ...
    lopt.base.errors.UserError: it asks for 2.00 EiB at a time, more memory than is free; ...
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        told = str(error)
        if not isinstance(error, MemoryError) and not re.search("(?i)out[ _]of[ _]memory", told):
            raise
        asked = ""
        if size := re.search(r"allocat\w* ([\d.]+) ?(\w+)", told):
            in_bytes = size[2].startswith("byte")
            words = f"{int(size[1]) / 2**30:,.1f} GiB" if in_bytes else f"{size[1]} {size[2]}"
            asked = f"{words} at a time, "
        raise UserError(f"{what} asks for {asked}more memory than is free; {fix}") from error

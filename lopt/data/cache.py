"""Preprocessed arrays on disk, so that a data set is decoded and resized once."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lopt.base.archive import Archive, Arrays
from lopt.base.errors import UserError

_FORMAT = 3  # to be raised when what is cached changes; older files are then left unread

_HINT = "the first use of a data set writes them"

_ARCHIVE = Archive("cached data", "lopt.data", _FORMAT, _HINT, finite=False)


class CacheWarning(UserWarning):
    """A cached file was damaged and is made again, or the cache cannot be written."""


def folder() -> Path:
    """The folder of cached arrays: `$LOPT_CACHE`, or `lopt` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LOPT_CACHE") or Path(home) / "lopt")


def file_of(name: str, arguments: Mapping[str, Any]) -> Path:
    """The file in which the arrays are cached that are made from these arguments, plain data."""
    text = json.dumps([_FORMAT, name, arguments], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return folder() / f"{name.replace('/', '_')}-{digest}.safetensors"


def cached(name: str, arguments: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """The arrays of a file of the cache, made and written if it is not there or damaged.

    The arguments, plain data, are everything that decides the arrays. What cannot be written is a
    `CacheWarning`: it costs time at the next call and nothing else.
    """
    file = file_of(name, arguments)
    if os.path.lexists(file):
        try:
            return _ARCHIVE.read(file)[0]
        except UserError as error:
            warnings.warn(f"{error}; it is made again", CacheWarning, stacklevel=2)
    # safetensors would write an array of another order of axes as it lies in memory
    arrays = {key: np.asarray(x, order="C") for key, x in make().items()}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _ARCHIVE.write(file, arrays, {})
    except (OSError, UserError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        message = f"cannot cache {name} in {folder()} ({why}); set LOPT_CACHE"
        warnings.warn(message, CacheWarning, stacklevel=2)
    return arrays

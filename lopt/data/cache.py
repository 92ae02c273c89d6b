"""Preprocessed arrays on disk, so that a data set is decoded and resized once."""

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lopt.base.atomic import replacing
from lopt.base.errors import UserError
from lopt.base.printed import printable

Arrays = dict[str, np.ndarray]

_FORMAT = 2
"""To be raised when what is cached changes; older files are then left unread."""

_NAMES = "names of the arrays"
"""The array that tells which others there are: damage can make one disappear."""


class CacheWarning(UserWarning):
    """A cached file was damaged and is made again, or the cache cannot be written."""


def folder() -> Path:
    """Where arrays are cached: `$LOPT_CACHE`, or `lopt` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("LOPT_CACHE") or Path(home) / "lopt")


def file_of(name: str, arguments: Mapping[str, Any]) -> Path:
    """The file in which the arrays made from these arguments are cached.

    Args:
      name: of the data set.
      arguments: plain data: everything that decides the arrays.
    """
    text = json.dumps([_FORMAT, name, arguments], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return folder() / f"{name.replace('/', '_')}-{digest}.npz"


def cached(name: str, arguments: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """The arrays of a file of the cache, made and written if it is not there.

    Args:
      name: of the data set.
      arguments: plain data: everything that decides the arrays.
      make: makes the arrays.

    Warns:
      CacheWarning: if the file is damaged, which then is made again, or cannot be written, which
        costs time at the next call and nothing else.
    """
    file = file_of(name, arguments)
    try:
        return _read(file)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except PermissionError as error:
        message = f"the cached file {file} cannot be read ({error.strerror}); set LOPT_CACHE"
        warnings.warn(message, CacheWarning, stacklevel=2)
    except Exception as error:  # whatever NumPy says of a file that is not as it wrote it
        reason = printable(" ".join(str(error).split())) or type(error).__name__
        message = f"the cached file {file} is damaged ({reason}) and is made again"
        warnings.warn(message, CacheWarning, stacklevel=2)
    arrays = make()
    try:
        _write(file, arrays)
    except (OSError, UserError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        message = f"cannot cache {name} in {folder()} ({why}); set LOPT_CACHE"
        warnings.warn(message, CacheWarning, stacklevel=2)
    return arrays


def _read(file: Path) -> Arrays:
    if file.exists() and not file.is_file():
        raise ValueError("it is no file")
    with zipfile.ZipFile(file) as archive:  # what is compressed may be a thousand times larger
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
    with np.load(file, allow_pickle=False) as arrays:
        names = arrays[_NAMES].tolist()
        return {name: arrays[name] for name in names}


def _write(file: Path, arrays: Arrays) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    contents: dict[str, Any] = {**arrays, _NAMES: np.array(list(arrays), dtype=str)}
    with replacing(file) as partial, partial.open("wb") as stream:
        np.savez(stream, **contents)

"""Safetensors files of arrays and plain data, with a digest that tells damage."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from lopt.atomic import replacing
from lopt.errors import UserError

_FORMAT = 3

_KEY = "lopt.optimizer"
"""The one metadata key: safetensors writes several in any order, each time another."""

Arrays = dict[str, np.ndarray]


def write_archive(path: Path, arrays: Mapping[str, np.ndarray], contents: dict[str, Any]) -> None:
    """Write arrays and plain data to a file, all of it or nothing.

    The plain data stand in the file's metadata as JSON, with the digest of both.

    Raises:
      UserError: if an array is not finite, or the contents are not plain data.
      OSError: if the file cannot be written.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UserError(f"{name} of theta is not finite, and is not saved to {str(path)!r}")
    try:
        contents = json.loads(json.dumps(contents))  # as it will be read: with keys of text
        digest = _digest(arrays, contents)
        text = json.dumps({"format": _FORMAT, "sha256": digest, **contents})
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"what is saved with theta must be plain data: {error}") from error
    data = save(dict(arrays), {_KEY: text})
    with replacing(path) as partial:
        partial.write_bytes(data)


def read_archive(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Read what `write_archive` wrote.

    Raises:
      UserError: if the file is missing, cannot be read, or holds anything else: another format,
        malformed metadata, contents that do not have their digest, arrays that are not finite.
    """
    if not path.is_file():
        raise UserError(f"no optimizer file {str(path)!r}; meta_train.py writes one")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except PermissionError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except Exception as error:  # of safetensors and of numpy, for headers that say nonsense
        raise UserError(f"{str(path)!r} is damaged or no safetensors file: {error}") from error
    if _KEY not in metadata:
        raise UserError(
            f"{str(path)!r} holds no learned optimizer; meta_train.py and lopt.save write one"
        )
    try:
        contents = json.loads(metadata[_KEY])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{str(path)!r} has malformed metadata: {error}") from error
    if not isinstance(contents, dict) or "format" not in contents:
        raise UserError(f"{str(path)!r} has malformed metadata: no format in it")
    found, digest = contents.pop("format"), contents.pop("sha256", None)
    if found != _FORMAT:
        raise UserError(
            f"{str(path)!r} is of format {str(found)[:20]} and this version reads {_FORMAT}; "
            "install the version of lopt that wrote it"
        )
    if digest != _digest(arrays, contents):
        raise UserError(f"{str(path)!r} is damaged: its contents do not have their digest")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise UserError(f"{str(path)!r} holds a theta that is not finite: {name}")
    return arrays, contents


def _digest(arrays: Mapping[str, np.ndarray], contents: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

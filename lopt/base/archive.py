"""Safetensors files of arrays and plain data, with a digest that tells damage."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from lopt.base.atomic import replacing
from lopt.base.errors import UserError

Arrays = dict[str, np.ndarray]

_DEEPEST = 64
"""How deep arrays of a file are within dicts."""


class UnreadableError(UserError):
    """A file that this process may not read, or not at present, whatever is in it."""


@dataclass(frozen=True)
class Archive:
    """One kind of file: how its contents are marked, and what messages call them.

    Attributes:
      key: the one metadata key: safetensors writes several in any order, each time another.
      format: the version of the contents.
      what: is in such a file, as in "holds no ...".
      arrays: what its arrays are called, with an article, as in "holds ... not finite".
      hint: who writes such files.
      finite: whether all numbers in the arrays have to be.
    """

    key: str
    format: int
    what: str
    arrays: str
    hint: str
    finite: bool = True

    def write(
        self, path: Path, arrays: Mapping[str, np.ndarray], contents: Mapping[str, Any]
    ) -> None:
        """Write arrays and plain data to a file, all of it or nothing.

        The plain data stand in the file's metadata as JSON, with the digest of both.

        Raises:
          UserError: if an array has to be finite and is not, or the contents are not plain data.
          OSError: if the file cannot be written.
        """
        for name, array in arrays.items():
            if not self._allows(array):
                raise UserError(
                    f"{name} of {self.arrays} is not finite, and is not saved to {str(path)!r}"
                )
        try:
            contents = json.loads(json.dumps(contents))  # as it will be read: with keys of text
            digest = digest_of(arrays, contents)
            text = json.dumps({"format": self.format, "sha256": digest, **contents})
        except (TypeError, ValueError, RecursionError) as error:
            raise UserError(
                f"what is saved with {self.arrays} must be plain data: {error}"
            ) from error
        data = save(dict(arrays), {self.key: text})
        with replacing(path) as partial:
            partial.write_bytes(data)

    def read(self, path: Path) -> tuple[Arrays, dict[str, Any]]:
        """Read what `write` wrote.

        Raises:
          UserError: if the file is missing, cannot be read, or holds anything else: another
            format, malformed metadata, contents that do not have their digest, arrays that have
            to be finite and are not.
          UnreadableError: if the system refuses to read it.
        """
        try:
            if not path.is_file():
                raise UserError(f"no {self.what} file {str(path)!r}; {self.hint}")
            path.open("rb").close()  # what safetensors says of it tells nothing from damage
        except OSError as error:
            raise UnreadableError(f"{str(path)!r} cannot be read: {error.strerror}") from error
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:  # of safetensors and of numpy, for headers that say nonsense
            raise UserError(f"{str(path)!r} is damaged or no safetensors file: {error}") from error
        if self.key not in metadata:
            raise UserError(f"{str(path)!r} holds no {self.what}; {self.hint}")
        try:
            contents = json.loads(metadata[self.key])
        except (ValueError, RecursionError) as error:
            raise UserError(f"{str(path)!r} has malformed metadata: {error}") from error
        if not isinstance(contents, dict) or "format" not in contents:
            raise UserError(f"{str(path)!r} has malformed metadata: no format in it")
        found, digest = contents.pop("format"), contents.pop("sha256", None)
        if found != self.format:
            raise UserError(
                f"{str(path)!r} is of format {str(found)[:20]} and this version reads "
                f"{self.format}; install the version of lopt that wrote it"
            )
        if digest != digest_of(arrays, contents):
            raise UserError(f"{str(path)!r} is damaged: its contents do not have their digest")
        for name, array in arrays.items():
            if not self._allows(array):
                raise UserError(f"{str(path)!r} holds {self.arrays} that is not finite: {name}")
        return arrays, contents

    def _allows(self, array: np.ndarray) -> bool:
        return not self.finite or bool(np.isfinite(array).all())


def require_real(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse a theta of anything but real floats.

    Raises:
      UserError: naming the first array of another type.
    """
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(f"{name} is of type {array.dtype}, and has to be of a real float type")


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays of a file as dicts within dicts, from names such as `encoder/kernel`.

    Raises:
      UserError: for an array within another, or names of more parts than trees can be deep.
    """
    deepest = max((name.count("/") for name in arrays), default=0)
    if deepest > _DEEPEST:
        raise UserError(f"arrays may be {_DEEPEST} deep within each other, not {deepest}")
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *folders, last = name.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
            if not isinstance(node, dict):
                raise UserError(f"the array {name} is within another")
        if last in node:
            raise UserError(f"the array {name} has others within it")
        node[last] = array
    return tree


def digest_of(arrays: Mapping[str, np.ndarray], contents: Mapping[str, Any]) -> str:
    """SHA-256 of arrays with their names, shapes and types, and of plain data."""
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()

"""Safetensors files of arrays and plain data, with a digest that tells damage."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import safe_open
from safetensors.numpy import save

from lopt.base.atomic import replacing
from lopt.base.digested import digest_of
from lopt.base.errors import UserError, reason_of, user_errors
from lopt.base.user_defined import from_a_file

Arrays = dict[str, np.ndarray]

_DEEPEST = 64  # how deep arrays of a file are within dicts


class UnreadableError(UserError):
    """A file that this process may not read, or not at present, whatever is in it."""


@dataclass(frozen=True)
class Archive:
    """One kind of file.

    Attributes:
      what: is in such a file, as in "no predictor file".
      key: under which its plain data stand in the metadata. There is one: safetensors writes
        several in any order, each time another.
      format: the version of the contents.
      hint: who writes such files.
      finite: whether all numbers in the arrays have to be.
    """

    what: str
    key: str
    format: int
    hint: str
    finite: bool = True

    def write(self, path: Path, tree: Mapping[str, Any], contents: Mapping[str, Any]) -> None:
        """Write arrays, in dicts within dicts, and plain data to a file, all of it or nothing.

        The plain data stand in the file's metadata as JSON with the digest of both.
        """
        # safetensors writes the bytes of other orders as they lie.
        arrays = {k: np.asarray(x, order="C") for k, x in flatten_dict(tree, sep="/").items()}
        if bad := self._not_finite(arrays):
            raise UserError(f"{bad} is not finite, and is not saved to {str(path)!r}")
        with user_errors(f"what {str(path)!r} is to hold must be plain data"):
            contents = json.loads(json.dumps(contents))  # as it will be read: with keys of text
            digest = digest_of(arrays, contents)
            text = json.dumps({"format": self.format, "sha256": digest, **contents})
        data = save(arrays, {self.key: text})
        with replacing(path) as partial:
            partial.write_bytes(data)

    @contextmanager
    def reading(self, path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Arrays and plain data that `write` wrote, to make something of in the context.

        Anybody may have written the file: nothing is imported within the context, and whatever is
        raised there becomes one line that names the file. All arrays are of real floats.
        """
        arrays, contents = self.read(path)
        try:
            require_real(arrays)
            with from_a_file():
                yield nested(arrays), contents
        except UserError as error:
            raise UserError(f"{str(path)!r}: {error}") from error
        except Exception as error:  # flax and JAX raise many kinds for what makes no sense to them
            message = f"{str(path)!r} has malformed metadata: {reason_of(error)}"
            raise UserError(message) from error

    def read(self, path: Path) -> tuple[Arrays, dict[str, Any]]:
        """The arrays of a file, by names such as `encoder/kernel`, and its plain data.

        A file that is missing or holds anything else is a `UserError`, also if only its digest is
        wrong; one that the system refuses to read is an `UnreadableError`.
        """
        shown = repr(str(path))
        try:
            if not path.is_file():
                raise UserError(f"no {self.what} file {shown}; {self.hint}")
            path.open("rb").close()  # what safetensors says of it tells nothing from damage
        except OSError as error:
            raise UnreadableError(f"{shown} cannot be read: {error.strerror}") from error
        damaged = user_errors(f"{shown} is damaged or no safetensors file")
        with damaged, safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if self.key not in metadata:
            raise UserError(f"{shown} holds no {self.what}; {self.hint}")
        contents = self._undigested(shown, arrays, metadata[self.key])
        if bad := self._not_finite(arrays):
            raise UserError(f"{shown} holds numbers that are not finite: {bad}")
        return arrays, contents

    def _undigested(self, shown: str, arrays: Arrays, text: str) -> dict[str, Any]:
        """The plain data, checked to be of this format and to have their digest."""
        with user_errors(f"{shown} has malformed metadata"):
            contents = json.loads(text)
        if not isinstance(contents, dict) or "format" not in contents:
            raise UserError(f"{shown} has malformed metadata: no format in it")
        found, digest = contents.pop("format"), contents.pop("sha256", None)
        if found != self.format:
            raise UserError(
                f"{shown} is of format {str(found)[:20]} and this version reads {self.format}; "
                "install the version of lopt that wrote it"
            )
        if digest != digest_of(arrays, contents):
            raise UserError(f"{shown} is damaged: its contents do not have their digest")
        return contents

    def _not_finite(self, arrays: Arrays) -> str | None:
        """The name of the first array that has to be finite and is not."""
        bad = (name for name, x in arrays.items() if self.finite and not np.isfinite(x).all())
        return next(bad, None)


def require_real(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays of anything but real floats."""
    for name, array in arrays.items():
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise UserError(f"{name} is of type {array.dtype}, and has to be of a real float type")


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays of a file as dicts within dicts, from names such as `encoder/kernel`."""
    deepest = max((name.count("/") for name in arrays), default=0)
    if deepest > _DEEPEST:
        raise UserError(f"arrays may be {_DEEPEST} deep within each other, not {deepest}")
    for name in arrays:
        folders = (name[:i] for i, letter in enumerate(name) if letter == "/")
        if not arrays.keys().isdisjoint(folders):
            raise UserError(f"the array {name} is within another")
    return unflatten_dict(arrays, sep="/")

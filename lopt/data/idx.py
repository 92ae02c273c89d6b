"""The IDX format, in which MNIST and the sets made after it are handed out."""

import gzip
import io
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lopt.base.errors import UserError

_BYTES = 0x08

_MOST_TIMES, _AT_LEAST = 100, 2**20
"""How much larger a gzipped file may become: images of clothes do by five, digits by ten."""


def read_idx(file: Path) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in an IDX file, gzipped or not.

    The file has two zero bytes, a type, the number of axes, the size of each axis as a big-endian
    32-bit integer, and then the numbers, the last axis fastest.

    Raises:
      UserError: if the file is missing, damaged, or holds other numbers than bytes.
    """
    try:
        packed = file.read_bytes()
        gzipped = packed[:2] == b"\x1f\x8b"
        most = _MOST_TIMES * len(packed) + _AT_LEAST
        content = _decompressed(packed, most) if gzipped else packed
    except FileNotFoundError as error:
        raise UserError(f"there is no {file.name} in {file.parent}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {file}: {error}") from error
    if content is None:
        raise UserError(f"{file} is damaged: it is more than {_MOST_TIMES} times larger unpacked")
    if len(content) < 4 or content[:3] != bytes([0, 0, _BYTES]):
        raise UserError(f"{file} is no IDX file of bytes")
    header, axes = 4 + 4 * content[3], content[3]
    if len(content) < header:
        raise UserError(f"{file} is damaged: it ends within the sizes of its {axes} axes")
    numbers = content[header:]
    shape = struct.unpack(f">{axes}I", content[4:header])
    if len(numbers) != math.prod(shape):
        raise UserError(f"{file} is damaged: {shape} were promised and {len(numbers)} bytes came")
    try:
        return np.frombuffer(numbers, np.uint8).reshape(shape)
    except ValueError as error:  # for more axes than NumPy has, or huge ones beside an empty one
        raise UserError(f"{file} is damaged: {error}") from error


def _decompressed(content: bytes, most: int) -> bytes | None:
    """What a gzip file holds, or None if that is more bytes."""
    with gzip.open(io.BytesIO(content)) as unpacked:
        found = unpacked.read(most + 1)
    return found if len(found) <= most else None

"""Digests, and JSON records that hold their own, so that a damaged one is not believed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

_KEY = "digest"

_DIGITS = 16
"""Of the 64 hexadecimal digits of SHA-256: enough against damage, which does not choose them."""


def digest_of(arrays: Mapping[str, np.ndarray], contents: Mapping[str, Any]) -> str:
    """SHA-256 of arrays with their names, shapes and types, and of plain data."""
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of plain data with its digest as a further entry, to be written as JSON."""
    return {**record, _KEY: digest_of({}, record)[:_DIGITS]}


def read_digested(text: str | bytes) -> dict[str, Any] | None:
    """The record that a text holds as JSON, without its digest; None if that is not its own."""
    try:
        record = json.loads(text)
        if isinstance(record, dict) and record.pop(_KEY, None) == digest_of({}, record)[:_DIGITS]:
            return record
    except (ValueError, TypeError, RecursionError):
        pass
    return None


def is_number(value: Any) -> bool:
    """Whether what was read from JSON is a number that a float can hold, NaN included."""
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**300)

"""JSON records that hold a digest of themselves, so that a damaged one is not believed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_KEY = "digest"

_DIGITS = 16
"""Hexadecimal digits of SHA-256 that are kept: damage does not choose them."""


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of plain data with its digest as a further entry, to be written as JSON.

    Example:
      >>> import json
      >>> line = json.dumps(with_digest({"step": 3, "meta_loss": 0.5}))
      >>> read_digested(line)
      {'step': 3, 'meta_loss': 0.5}
      >>> read_digested(line.replace("0.5", "0.4"))
    """
    return {**record, _KEY: _digest(record)}


def read_digested(text: str | bytes) -> dict[str, Any] | None:
    """The record that a text holds as JSON, without its digest; None if that is not its own."""
    try:
        record = json.loads(text)
        if isinstance(record, dict) and record.pop(_KEY, None) == _digest(record):
            return record
    except (ValueError, TypeError, RecursionError):
        pass
    return None


def is_number(value: Any) -> bool:
    """Whether what was read from JSON is a number that a float can hold, NaN included."""
    if isinstance(value, bool):
        return False
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**300)


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]

"""Text that is on every machine: the sources of Python's own standard library."""

import hashlib
import platform
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from lopt.base.checks import require_positive
from lopt.base.errors import UserError
from lopt.data.corpus import Corpus

_SKIPPED = {
    *("__pycache__", "dist-packages", "site-packages", "test", "tests", "pydoc_data"),
    *("distutils", "encodings", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo"),
}
"""Tables and help texts rather than programs, and what some systems package apart."""

_SLICE = 10_000
"""Bytes that are taken of each file at most, so that no file is a good part of the text."""

HELD_OUT = 0.1
"""The fraction of the text that is held out: its end."""


def text(size: int = 1_000_000, tokens: str = "bytes") -> Corpus:
    """Sources of the running Python's standard library, the last tenth held out.

    The beginnings of its files, whole lines of at most 10,000 bytes each, in the order of a hash of
    their names, so that a small `size` is a sample of all of them. Other versions of Python, and
    other ways to package it, give other texts; which it was is in the corpus' `source`, with its
    hash.

    Args:
      size: bytes, at most; the beginnings come to about three million.
      tokens: a name in `TOKENIZERS`, with arguments.

    Raises:
      UserError: if `size` is not positive, or there are no sources.
    """
    require_positive("text", size=size)
    content = bytearray()
    for file in _sources():
        if len(content) >= size:
            break
        content += _beginning(file)
    if not content:
        raise UserError("this Python has no sources of its standard library; use another text")
    whole = bytes(content[:size]).decode(errors="ignore")
    return split(whole, tokens, f"standard library of Python {platform.python_version()}")


def split(whole: str, tokens: str, source: str) -> Corpus:
    """A corpus with the end of a text held out, and the hash of the text in its `source`."""
    border = round(len(whole) * (1 - HELD_OUT))
    digest = hashlib.sha256(whole.encode()).hexdigest()
    source = f"{source}, {len(whole)} characters, sha256 {digest}"
    return Corpus.of(whole[:border], whole[border:], tokens, source)


def _beginning(file: Path) -> bytes:
    content = file.read_bytes()
    return content if len(content) <= _SLICE else content[: content.rfind(b"\n", 0, _SLICE) + 1]


def _sources() -> Iterator[Path]:
    root = Path(sysconfig.get_path("stdlib"))
    names = [
        path.relative_to(root)
        for path in root.rglob("*.py")
        if not _SKIPPED & set(path.relative_to(root).parts) and "sysconfigdata" not in path.name
    ]
    for name in sorted(names, key=lambda n: hashlib.sha256(n.as_posix().encode()).digest()):
        yield root / name

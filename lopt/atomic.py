"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PARTIAL = ".partial"


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside a file, to write to; what was written there then takes the file's place.

    The contents are on the disk before the file is replaced, so that a reader finds the old file
    or the new one, whatever ends this process or its machine. Several processes may write the
    same file: one of their versions stays, whole.

    Args:
      path: of the file; its folder must be there.

    Raises:
      OSError: if the file cannot be written. As after an error of the caller's, the old file stays
        as it was.

    Example:
      >>> import tempfile
      >>> file = Path(tempfile.mkdtemp()) / "numbers.txt"
      >>> with replacing(file) as partial:
      ...     _ = partial.write_text("1 2 3")
      >>> file.read_text()
      '1 2 3'
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{_PARTIAL}")
    try:
        yield partial
        with partial.open("r+b") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_atomically(path: str | os.PathLike, text: str) -> None:
    """Write a text file, all of it or nothing."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def remove_partial(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder that nobody else writes to."""
    for file in folder.glob(f"*{_PARTIAL}"):
        file.unlink(missing_ok=True)

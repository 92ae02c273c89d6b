"""Files that are written whole or not at all."""

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lopt.base.errors import UserError

_PARTIAL = re.compile(r"(.+)\.[0-9a-f]{8}\.partial")
"""The name of a file that is being written, after that of the file whose place it will take."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A path beside a file, to write to; what was written there then takes the file's place.

    The contents are on the disk before the file is replaced, so that a reader finds the old file
    or the new one, whatever ends this process or its machine. Several processes may write the
    same file: one of their versions stays, whole. What killed writers of the same file left
    half-written is removed. Of a symbolic link the file that it leads to is replaced.

    The folder must be there. A path of anything but a file is a `UserError`; where the file cannot
    be written it is an OSError, and the old one stays as it was, as after an error of the caller's.
    """
    path = _place(Path(path))
    for left in _partial_files(path.parent, path.name):
        _remove_abandoned(left)
    partial, held = _create_beside(path)
    try:
        yield partial
        with partial.open("r+b") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    finally:
        os.close(held)


def write_atomically(path: str | os.PathLike, text: str) -> None:
    """Write a text file, all of it or nothing."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def remove_partial(folder: Path, *, below: bool = False) -> None:
    """Remove what killed processes left half-written in a folder that nobody else writes to."""
    for inner, _, _ in os.walk(folder) if below else [(folder, (), ())]:
        for left in _partial_files(Path(inner)):
            left.unlink(missing_ok=True)


def _place(path: Path) -> Path:
    """Where a file is to be written: at the end of links, and nowhere but in a file's place."""
    place = Path(os.path.realpath(path)) if path.is_symlink() else path
    try:
        kind = stat.S_IFMT(place.stat().st_mode)
    except FileNotFoundError:
        return place
    if kind != stat.S_IFREG:
        raise UserError(
            f"{str(path)!r} is {_KINDS.get(kind, 'something else')} and is not written over; give "
            "the path of a file"
        )
    return place


def _create_beside(path: Path) -> tuple[Path, int]:
    """A new file beside another, and a descriptor that locks it until this process ends."""
    while True:
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        held = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        with suppress(OSError):  # of file systems without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        if os.fstat(held).st_nlink:
            return partial, held
        os.close(held)  # another process removed it before it was locked


def _remove_abandoned(partial: Path) -> None:
    """Remove a half-written file unless its writer is alive, which then has it locked."""
    with suppress(OSError):
        descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.unlink()
        finally:
            os.close(descriptor)


def _partial_files(folder: Path, name: str | None = None) -> list[Path]:
    """The half-written files in a folder, those of one file if its name is given."""
    try:
        with os.scandir(folder) as entries:
            found = [(_PARTIAL.fullmatch(entry.name), entry.path) for entry in entries]
    except OSError:
        return []
    return [Path(path) for match, path in found if match and name in (None, match[1])]

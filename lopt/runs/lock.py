"""One process at a time in a folder."""

import errno
import fcntl
import os
import socket
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lopt.base.errors import UserError

_FILE = ".lock"

_SAYS = "process "
"""How such a file begins, unless it is empty."""

_LONGEST = 300
"""Bytes of it that are read."""

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""How file systems that know no locks answer, some of clusters among them."""


@contextmanager
def only_process(folder: str | os.PathLike) -> Iterator[None]:
    """Keep all other processes out of a folder that this one writes to; a context manager.

    The lock is the operating system's, on an open file: it ends with the process, whatever ends
    that, and holds between the hosts of a shared file system where that has locks.

    Args:
      folder: must be there. A small file `.lock` stays in it: removing it would let in two.

    Raises:
      UserError: at once, if another process is in the folder, which is named, the folder cannot be
        written, or its `.lock` is not such a file: a link, for instance, or somebody's text.

    Warns:
      UserWarning: if the file system has no locks; the folder is then not guarded.

    Example:
      >>> import tempfile
      >>> folder = tempfile.mkdtemp()
      >>> with only_process(folder), only_process(folder):
      ...     pass
      Traceback (most recent call last):
          ...
      lopt.base.errors.UserError: ...: process ... is writing there; ...
    """
    with _opened(Path(folder)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder} is in use: {_owner(file) or 'another process'} is writing there; wait "
                "for its end, or choose another --workdir"
            ) from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise UserError(f"{folder} cannot be locked: {error.strerror}") from error
            warnings.warn(
                f"{folder} is on a file system without locks: see to it that one process at a "
                "time writes there",
                stacklevel=3,
            )
        if not _owner(file).startswith(_SAYS[: os.fstat(file.fileno()).st_size]):
            raise _foreign(folder)
        file.truncate(0)
        file.write(f"{_SAYS}{os.getpid()} on {socket.gethostname()}".encode())
        yield


def _opened(folder: Path) -> BinaryIO:
    """The file that is locked, opened without following a link or waiting for a pipe's reader."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / _FILE, flags, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise _foreign(folder) from error
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise _foreign(folder)
    return os.fdopen(descriptor, "r+b", buffering=0)


def _owner(file: BinaryIO) -> str:
    """Who says that it holds the lock; the beginning of what stands in the file."""
    return os.pread(file.fileno(), _LONGEST, 0).decode(errors="replace").strip()


def _foreign(folder: str | os.PathLike) -> UserError:
    return UserError(
        f"{Path(folder) / _FILE} is not the file of a lock, and is left as it is; remove it, or "
        "choose another --workdir"
    )

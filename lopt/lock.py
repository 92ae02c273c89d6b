"""One process at a time in a folder."""

import errno
import fcntl
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lopt.errors import UserError

_FILE = ".lock"

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
      UserError: at once, if another process is in the folder, which is named, or the folder
        cannot be written.

    Warns:
      UserWarning: if the file system has no locks; the folder is then not guarded.

    Example:
      >>> import tempfile
      >>> folder = tempfile.mkdtemp()
      >>> with only_process(folder), only_process(folder):
      ...     pass
      Traceback (most recent call last):
          ...
      lopt.errors.UserError: ...: process ... is writing there; ...
    """
    try:
        descriptor = os.open(Path(folder) / _FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder} is in use: {file.read().strip() or 'another process'} is writing there; "
                "wait for its end, or choose another --workdir"
            ) from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise UserError(f"{folder} cannot be locked: {error.strerror}") from error
            warnings.warn(
                f"{folder} is on a file system without locks: see to it that one process at a "
                "time writes there",
                stacklevel=3,
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield

"""One process at a time in a folder."""

import errno
import os
import socket
import stat
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from lopt.base.errors import UserError, reason_of

_FILE = ".lock"

_SAYS = "process "  # the beginning of such a file, unless it is empty

_LONGEST = 300  # bytes of it that are read

_FOREIGN = (errno.ELOOP, errno.ENXIO, errno.EEXIST)  # answers for a link, a socket, and of _sign

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Answers of file systems that know no locks, some of clusters among them."""


@contextmanager
def only_process(folder: str | os.PathLike) -> Iterator[None]:
    """Keep all other processes out of a folder that this one writes to; a context manager.

    The lock is the operating system's, on an open file: it ends with the process, whatever ends
    that, and holds between the hosts of a shared file system where that has locks; a warning says
    so where it has none. The file `.lock` stays in the folder: removing it would let in two.
    Raises a `UserError` if another process is in the folder, the folder cannot be written, or its
    `.lock` is something else, such as a link or somebody's text.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with only_process(folder), only_process(folder):
    ...     pass
    Traceback (most recent call last):
        ...
    lopt.base.errors.UserError: ...: process ... is writing there; ...
    """
    file = Path(folder) / _FILE
    held: AbstractContextManager = nullcontext()
    lock = FileLock(
        file, blocking=False, thread_local=False, preserve_lock_file=True, on_acquired=_sign
    )
    try:
        held = lock.acquire()
    except Timeout:
        owner = file.read_bytes()[:_LONGEST].decode(errors="replace").strip()
        raise UserError(
            f"{folder} is in use: {owner or 'another process'} is writing there; wait for its end, "
            "or choose another --workdir"
        ) from None
    except OSError as error:
        if error.errno in _FOREIGN:
            raise UserError(
                f"{file} is not the file of a lock, and is left as it is; remove it, or choose "
                "another --workdir"
            ) from error
        if error.errno not in _UNSUPPORTED:
            raise UserError(f"{folder} cannot be written: {reason_of(error)}") from error
        warnings.warn(
            f"{folder} is on a file system without locks: see to it that one process at a time "
            "writes there",
            stacklevel=3,
        )
    with held:
        yield


def _sign(descriptor: int) -> None:
    """Write who holds a lock into its file, if that is the file of a lock and nothing else.

    filelock follows no link, but would take over a pipe, a second name of a file and any text.
    """
    found, says = os.fstat(descriptor), _SAYS.encode()
    regular = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if not regular or os.pread(descriptor, len(says), 0) != says[: found.st_size]:
        raise FileExistsError(errno.EEXIST, "not the file of a lock")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{_SAYS}{os.getpid()} on {socket.gethostname()}".encode(), 0)

"""The folder of a run: whose config it holds, and the files that nothing half-written replaces."""

import json
import os
import platform
import secrets
import shutil
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jaxtyping import Array, PyTree

from lopt.atomic import write_atomically
from lopt.errors import UserError
from lopt.meta import distributed

_COPIES = 5
"""Checkpoints that a run has on disk at most, one that is being written included."""

_RESERVE = 2**24
"""Bytes for what else a run writes."""

_PATIENCE = 10
"""Seconds until a file that one process wrote must appear to the others."""

_PACKAGES = ("lopt", "jax", "jaxlib", "flax", "optax", "numpy")


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def claim(workdir: str | os.PathLike, config: Mapping[str, Any]) -> Path:
    """Make a folder the workdir of a run with this config, or find that it is.

    Args:
      workdir: made if it is not there.
      config: plain data; saved in `config.json` with the versions.

    Raises:
      UserError: if the folder is the workdir of another config (the first key that differs is
        named), or cannot be written.
    """
    workdir = Path(workdir)
    file = workdir / "config.json"
    config = json.loads(json.dumps(config))
    try:
        if file.exists():
            difference = _first_difference(json.loads(file.read_text())["config"], config)
            if difference:
                raise UserError(
                    f"{workdir} holds a run of another config ({difference}); "
                    "choose another --workdir, or remove that one"
                )
        else:
            workdir.mkdir(parents=True, exist_ok=True)
            write_atomically(
                file, json.dumps({"config": config, "versions": versions()}, indent=2) + "\n"
            )
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise UserError(f"cannot use {workdir} as workdir: {error}") from error
    return workdir


def require_space(workdir: Path, state: PyTree[Array]) -> None:
    """Find out before compute is spent whether the checkpoints of a state can be written.

    Raises:
      UserError: if the folder cannot be written, or the disk has less free space than the
        checkpoints of a run take.
    """
    probe = workdir / "probe"
    try:
        write_atomically(probe, "")
        probe.unlink()
    except OSError as error:
        raise UserError(f"{workdir} cannot be written: {error}") from error
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    there = sum(f.stat().st_size for f in (workdir / "checkpoints").rglob("*") if f.is_file())
    needed, free = _COPIES * size + _RESERVE - there, shutil.disk_usage(workdir).free
    if free < needed:
        raise UserError(
            f"{workdir} has {free / 2**20:,.0f} MiB of free disk space and the run needs "
            f"{needed / 2**20:,.0f}; free some, or choose another --workdir"
        )


def require_shared(workdir: Path) -> None:
    """Find out whether all processes of a run see the same folder.

    Raises:
      UserError: in all processes, if not.
    """
    if jax.process_count() == 1:
        return
    file = workdir / "token"
    token = distributed.from_first(lambda: _write_token(file))
    if not distributed.everywhere(_appears(file, token)):
        raise UserError(
            f"the processes of the run do not share {workdir}; let --workdir be the same folder "
            "for all, on a file system that all of them see"
        )
    distributed.from_first(file.unlink)


def _write_token(file: Path) -> str:
    token = secrets.token_hex()
    write_atomically(file, token)
    return token


def _appears(file: Path, token: str) -> bool:
    """Whether a file holds a text, or comes to; network file systems may take some seconds."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if file.exists() and file.read_text() == token:
            return True
        time.sleep(0.1)
    return False


def _first_difference(old: Any, new: Any, path: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            difference = _first_difference(old.get(key), new.get(key), f"{path}.{key}".strip("."))
            if difference:
                return difference
        return ""
    return "" if old == new else f"{path} is {old!r} there and {new!r} here"

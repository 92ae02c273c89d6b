"""Networks of one architecture in a folder, with their scores in a CSV file."""

import csv
import math
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array, PyTree
from safetensors.numpy import load_file

from lopt.base.archive import nested
from lopt.base.errors import UserError, reason_of, suggest, user_errors
from lopt.base.parts import user_function
from lopt.predict.networks import Networks, stacked
from lopt.symmetry import PermutationSpec, infer_spec
from lopt.symmetry.untrusted import spec_from_file

_SUFFIX = ".safetensors"

_MOST_TIMES, _AT_LEAST = 100, 2**24
"""How much larger than its files the tensors of a checkpoint may be: weights hardly compress."""


def from_folder(folder: Path, scores: Path, spec: str) -> Networks:
    """Networks from safetensors files or orbax checkpoints, one each.

    Args:
      folder: where they are.
      scores: a CSV file with the columns `network`, the name of a file or a checkpoint in the
        folder, and `score`; and `run`, if several are of one training run.
      spec: the weight space: `"module:function"`, a function of the params whose symmetries are
        inferred, or a JSON file that holds `PermutationSpec.to_json()`.
    """
    rows = _rows(scores)
    params = [_read(folder, name) for name in rows]
    found, runs = zip(*rows.values(), strict=True)
    names = tuple(rows)
    return Networks(
        stacked(params, names), np.array(found), np.array(runs), names, _spec(spec, params[0])
    )


def _rows(file: Path) -> dict[str, tuple[float, str]]:
    """The score and the run of each network by its name."""
    with user_errors(f"cannot read {file}"), file.open(newline="", encoding="utf-8-sig") as text:
        reader = csv.DictReader(text)
        columns, rows = reader.fieldnames or (), list(reader)
    for column in ("network", "score"):
        if column not in columns:
            raise UserError(
                f"{file} has no column {column!r}; its first line must be network,score or "
                "network,score,run"
            )
    if not rows:
        raise UserError(f"{file} has no networks")
    found: dict[str, tuple[float, str]] = {}
    for number, row in enumerate(rows, 2):
        name, score = row["network"], row["score"]
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{file}, line {number}: {name!r} is no network of the folder")
        if name in found:
            raise UserError(f"{file}, line {number}: {name!r} is there already")
        with user_errors(f"{file}, line {number}: {score!r} is not a number"):
            found[name] = float(score), row.get("run") or name
    return found


def _read(folder: Path, name: str) -> PyTree[np.ndarray]:
    path = folder / name
    if not path.exists():
        path = path.with_name(f"{path.name}{_SUFFIX}")
    if not path.exists():
        there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        raise UserError(f"no network {name!r} in {folder}; {suggest(name, there[:20])}")
    try:
        if path.is_dir():
            return _checkpoint(path.resolve())
        tensors = load_file(path)
        if any("/" in key for key in tensors):
            return nested(tensors)
        return nested({key.replace(".", "/"): x for key, x in tensors.items()})
    except Exception as error:  # whatever the libraries say of a file that is damaged
        raise UserError(f"network {name}: {path} cannot be read: {reason_of(error)}") from error


def _checkpoint(path: Path) -> PyTree[np.ndarray]:
    """The params in an orbax checkpoint, unless it says that they are far larger than its files."""
    with ocp.StandardCheckpointer() as checkpointer:
        # who restores it makes room for its tensors first, as large as it says that they are
        tensors = jax.tree.leaves(checkpointer.metadata(path).item_metadata)
        said = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in tensors)
        held = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        if said > _MOST_TIMES * held + _AT_LEAST:
            raise ValueError(
                f"its tensors are of {said:,} bytes, more than {_MOST_TIMES} times those of its "
                "files"
            )
        return jax.tree.map(np.asarray, checkpointer.restore(path))


def _spec(given: str, params: PyTree[Array]) -> PermutationSpec:
    """The weight space that a text names."""
    if given.endswith(".json"):
        try:
            text = Path(given).read_text(encoding="utf-8")
            spec_from_file(text)
            return PermutationSpec.from_json(text, like=params)
        except (OSError, ValueError) as error:
            raise UserError(
                f"cannot read a spec from {given}: {error}; PermutationSpec.to_json() makes one"
            ) from error
    if ":" not in given:
        raise UserError(f"spec must be module:function or a .json file, not {given!r}")
    return infer_spec(user_function(given), params)

"""Networks of one architecture in a folder, with their scores in a CSV file."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array, PyTree
from safetensors.numpy import load_file

from lopt.base.archive import nested
from lopt.base.errors import UserError, suggest
from lopt.base.parts import user_function
from lopt.predict.networks import Networks
from lopt.symmetry import PermutationSpec, infer_spec
from lopt.symmetry.paths import leaves_with_path, name_of

_COLUMNS = ("network", "score")
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

    Raises:
      UserError: if a file is missing or cannot be read, a network has other tensors or shapes than
        the first or is not finite, or the CSV file does not make sense; the first is named.
      SpecError: if the networks do not fit the spec.
    """
    rows = _rows(scores)
    params = [_read(folder, row["network"]) for row in rows]
    first = params[0]
    for row, other in zip(rows, params, strict=True):
        _require_alike(rows[0]["network"], first, row["network"], other)
    return Networks(
        jax.tree.map(lambda *x: np.stack(x), *params),
        np.array([row["score"] for row in rows]),
        np.array([row["run"] for row in rows]),
        tuple(row["network"] for row in rows),
        _spec(spec, first),
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file, their scores as numbers."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            reader = csv.DictReader(text)
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {file}: {error}") from error
    for column in _COLUMNS:
        if column not in columns:
            raise UserError(
                f"{file} has no column {column!r}; its first line must be network,score or "
                "network,score,run"
            )
    if not rows:
        raise UserError(f"{file} has no networks")
    found: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, 2):
        name = row["network"]
        if not name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{file}, line {number}: {name!r} is no network of the folder")
        if name in found:
            raise UserError(f"{file}, line {number}: {name!r} is there already")
        try:
            score = float(row["score"])
        except (TypeError, ValueError):
            raise UserError(f"{file}, line {number}: {row['score']!r} is not a number") from None
        found[name] = {"network": name, "score": score, "run": row.get("run") or name}
    return list(found.values())


def _read(folder: Path, name: str) -> PyTree[np.ndarray]:
    """The params of a network."""
    path = folder / name
    if not path.exists() and path.with_name(f"{path.name}{_SUFFIX}").exists():
        path = path.with_name(f"{path.name}{_SUFFIX}")
    if not path.exists():
        there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        raise UserError(f"no network {name!r} in {folder}; {suggest(name, there[:20])}")
    try:
        if path.is_dir():
            with ocp.StandardCheckpointer() as checkpointer:
                _require_modest(path, checkpointer.metadata(path.resolve()).item_metadata)
                restored = checkpointer.restore(path.resolve())
            return jax.tree.map(np.asarray, restored)
        return _nested(load_file(path))
    except Exception as error:  # whatever the libraries say of a file that is damaged
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"network {name}: {path} cannot be read: {reason}") from error


def _require_modest(path: Path, tensors: PyTree[Any]) -> None:
    """Refuse a checkpoint that says that its tensors are far larger than its files are.

    Whoever reads it makes room for them first.
    """
    said = sum(math.prod(x.shape) * np.dtype(x.dtype).itemsize for x in jax.tree.leaves(tensors))
    held = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    if said > _MOST_TIMES * held + _AT_LEAST:
        raise ValueError(
            f"its tensors are of {said:,} bytes, more than {_MOST_TIMES} times those of its files"
        )


def _nested(tensors: Mapping[str, np.ndarray]) -> PyTree[np.ndarray]:
    """A tree from names such as `encoder/kernel` or `encoder.kernel`."""
    if any("/" in name for name in tensors):
        return nested(tensors)
    return nested({name.replace(".", "/"): x for name, x in tensors.items()})


def _require_alike(name: str, first: PyTree[Array], other: str, second: PyTree[Array]) -> None:
    trees = (first, second)
    expected, found = ({name_of(p): x.shape for p, x in leaves_with_path(t)} for t in trees)
    for tensor in dict.fromkeys((*expected, *found)):
        if expected.get(tensor) != found.get(tensor):
            raise UserError(
                f"network {other}: {tensor} has shape {_shape(found.get(tensor))}, and in network "
                f"{name} {_shape(expected.get(tensor))}; give networks of one architecture"
            )


def _shape(shape: Sequence[int] | None) -> str:
    return "none" if shape is None else str(tuple(shape))


def _spec(given: str, params: PyTree[Array]) -> PermutationSpec:
    """The weight space that a text names."""
    if given.endswith(".json"):
        try:
            return PermutationSpec.from_json(Path(given).read_text(encoding="utf-8"), like=params)
        except UserError:
            raise
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise UserError(
                f"cannot read a spec from {given}: {error}; PermutationSpec.to_json() makes one"
            ) from error
    if ":" not in given:
        raise UserError(f"spec must be module:function or a .json file, not {given!r}")
    return infer_spec(user_function(given), params)

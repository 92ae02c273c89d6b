"""Many trained networks in files: sharded safetensors, and a JSON index of all."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, PyTree

from lopt.base.archive import Archive
from lopt.base.atomic import write_atomically
from lopt.base.digested import is_number, read_digested, with_digest
from lopt.base.errors import UserError, suggest, user_errors
from lopt.predict.networks import Networks
from lopt.predict.seq2seq import spec_of

INDEX = "index.json"
"""The file that says which networks are in which shard."""

SHARDS = "shards"
"""The folder of the shards."""

_HINT = "python -m lopt.predict.zoo writes them, also again once a damaged one is removed"

ARCHIVE = Archive("zoo shard", "lopt.zoo", format=1, hint=_HINT)
"""The files of shards."""

Record = dict[str, Any]
"""The run, step, hyperparameters and scores of a network."""

Stacked = PyTree[Float[np.ndarray, "networks ..."]]
"""The params of many networks."""


class Shards:
    """The shards of a zoo, numbered from 0; each holds networks of one width."""

    def __init__(self, folder: Path):
        self.folder = folder

    def file(self, number: int) -> Path:
        """The path of a shard, written or not."""
        return self.folder / SHARDS / f"{number:05d}.safetensors"

    def write(self, number: int, params: Stacked, records: Sequence[Record]) -> None:
        """Write a shard, whole or not at all: its networks, all finite, and a record of each."""
        path = self.file(number)
        path.parent.mkdir(exist_ok=True)
        ARCHIVE.write(path, params, {"networks": list(records)})

    def read(self, number: int) -> tuple[Stacked, list[Record]]:
        """The params and the records of a shard's networks."""
        with ARCHIVE.reading(self.file(number)) as (params, contents):
            records = contents["networks"]
            if not isinstance(records, list) or not records or not all(map(_is_record, records)):
                raise UserError("it does not hold records of networks")
            leaves = jax.tree.leaves(params)
            if not leaves or any(x.shape[:1] != (len(records),) for x in leaves):
                raise UserError("it does not hold one record for each network")
            return params, records

    def write_index(self, count: int, total: int) -> None:
        """Write the index of the first shards of so many."""
        shards = [
            {"file": str(self.file(i).relative_to(self.folder)), "networks": self.read(i)[1]}
            for i in range(count)
        ]
        index = with_digest({"format": 2, "shards": shards, "of": total})
        write_atomically(self.folder / INDEX, json.dumps(index, indent=1) + "\n")

    def __iter__(self) -> Iterator[tuple[Stacked, list[Record]]]:
        """Read all shards of a finished zoo in order."""
        path = self.folder / INDEX
        if not path.is_file():
            raise UserError(
                f"no zoo in {self.folder}: it has no {INDEX}; python -m lopt.predict.zoo makes one"
            )
        with user_errors(f"{path} cannot be read", OSError):
            text = path.read_bytes()
        again = "remove it, and python -m lopt.predict.zoo writes it again"
        with user_errors(f"{path} is damaged", fix=again):
            index = read_digested(text) or {}
            done, total = len(index["shards"]), int(index["of"])
        if done < total:
            raise UserError(
                f"the zoo in {self.folder} has {done} of {total} shards; the command that makes "
                "it resumes"
            )
        yield from map(self.read, range(done))


def from_zoo(folder: Path, target: str = "test_success") -> dict[int, Networks]:
    """The networks of a finished zoo for each width, in the order of the zoo.

    The target is the key of the records whose value is the score.
    """
    shards: dict[int, list[tuple[Stacked, list[Record]]]] = {}
    for params, records in Shards(folder):
        shards.setdefault(records[0]["width"], []).append((params, records))
    return {width: _joined(some, target) for width, some in shards.items()}


def _joined(shards: Sequence[tuple[Stacked, list[Record]]], target: str) -> Networks:
    again = "let python -m lopt.predict.zoo make it in another workdir"
    with user_errors("shards of the zoo have networks of one width with other tensors", fix=again):
        params = jax.tree.map(lambda *x: np.concatenate(x), *(p for p, _ in shards))
    records = [record for _, some in shards for record in some]
    for record in records:
        if target not in record:
            raise UserError(f"the zoo has no {target!r} of its networks; {suggest(target, record)}")
    return Networks(
        params,
        np.array([r[target] for r in records], np.float64),
        np.array([r["run"] for r in records]),
        tuple(f"{r['run']} at step {r['step']}" for r in records),
        spec_of(jax.tree.map(lambda x: x[0], params)),
    )


def _is_record(record: Any) -> bool:
    """Whether plain data are a record: numbers by name, those that tell networks apart whole."""
    return (
        isinstance(record, dict)
        and all(map(is_number, record.values()))
        and all(isinstance(record.get(name), int) for name in ("run", "step", "width"))
    )

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
from lopt.base.errors import UserError

INDEX = "index.json"

_FOLDER = "shards"

_HINT = "python -m lopt.predict.zoo writes them, also again once a damaged one is removed"

_ARCHIVE = Archive("zoo shard", "lopt.zoo", format=1, hint=_HINT)

Record = dict[str, Any]
"""What is known of a network: its run, step, hyperparameters and scores."""

Stacked = PyTree[Float[np.ndarray, "networks ..."]]
"""The params of many networks."""


class Shards:
    """The shards of a zoo, numbered from 0; each holds networks of one width.

    Attributes:
      folder: of the zoo.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def file(self, number: int) -> Path:
        """Where a shard is, or will be."""
        return self.folder / _FOLDER / f"{number:05d}.safetensors"

    def write(self, number: int, params: Stacked, records: Sequence[Record]) -> None:
        """Write a shard, whole or not at all.

        Args:
          number: of the shard.
          params: of its networks.
          records: one for each network.

        Raises:
          UserError: if a network is not finite.
          OSError: if it cannot be written.
        """
        path = self.file(number)
        path.parent.mkdir(exist_ok=True)
        _ARCHIVE.write(path, params, {"networks": list(records)})

    def read(self, number: int) -> tuple[Stacked, list[Record]]:
        """The params and the records of a shard's networks.

        Raises:
          UserError: if the shard is missing or damaged; it is named.
        """
        with _ARCHIVE.reading(self.file(number)) as (params, contents):
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
        """Read all shards of a finished zoo in order.

        Raises:
          UserError: if there is no index, it is damaged, or the zoo is not finished; and as `read`.
        """
        path = self.folder / INDEX
        if not path.is_file():
            raise UserError(
                f"no zoo in {self.folder}: it has no {INDEX}; python -m lopt.predict.zoo makes one"
            )
        try:
            index = read_digested(path.read_bytes()) or {}
            done, total = len(index["shards"]), int(index["of"])
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{path} is damaged; remove it, and python -m lopt.predict.zoo writes it again"
            ) from error
        if done < total:
            raise UserError(
                f"the zoo in {self.folder} has {done} of {total} shards; the command that makes "
                "it resumes"
            )
        yield from map(self.read, range(done))


def _is_record(record: Any) -> bool:
    """Whether plain data are a record: numbers by name, those that tell networks apart whole."""
    return (
        isinstance(record, dict)
        and all(map(is_number, record.values()))
        and all(isinstance(record.get(name), int) for name in ("run", "step", "width"))
    )

"""Trained networks of one architecture with their scores, from a zoo or from a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from lopt.base.errors import UserError, suggest
from lopt.predict.arithmetic import all_sums
from lopt.predict.predictor import require_networks
from lopt.predict.seq2seq import logits
from lopt.predict.shards import Record, Shards
from lopt.symmetry import PermutationSpec, infer_spec


@dataclass(frozen=True)
class Networks:
    """Networks with their scores.

    Attributes:
      params: each tensor with a leading axis.
      scores: one for each network.
      runs: the training run of each; two networks of one run never stand on both sides of a split.
      names: of the networks, for messages.
      spec: the weight space of one network.
    """

    params: PyTree[Float[np.ndarray, "networks ..."]]
    scores: Float[np.ndarray, " networks"]
    runs: np.ndarray
    names: tuple[str, ...]
    spec: PermutationSpec

    def __post_init__(self):
        """Find out whether they fit together.

        Raises:
          SpecError: if the networks do not fit the spec.
          UserError: if one is not finite; the first is named.
        """
        require_networks(self.params, self.spec, self.names)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(
        self, index: Bool[np.ndarray, " networks"] | Int[np.ndarray, " some"]
    ) -> "Networks":
        """Some of the networks."""
        return Networks(
            jax.tree.map(lambda x: x[index], self.params),
            self.scores[index],
            self.runs[index],
            tuple(np.array(self.names)[index].tolist()),
            self.spec,
        )


def from_zoo(folder: Path, target: str = "test_success") -> dict[int, Networks]:
    """The networks of a finished zoo for each width, in the order of the zoo.

    Args:
      folder: where `index.json` is.
      target: what is the score; a key of the records.

    Raises:
      UserError: if there is no zoo, it is not finished, a shard is missing or damaged, or the
        records have no such target.
    """
    found: dict[int, list[tuple[PyTree[np.ndarray], list[Record]]]] = {}
    for params, records in Shards(folder):
        found.setdefault(records[0]["width"], []).append((params, records))
    return {width: _joined(shards, target) for width, shards in found.items()}


def _joined(shards: Sequence[tuple[PyTree[np.ndarray], list[Record]]], target: str) -> Networks:
    try:
        params = jax.tree.map(lambda *x: np.concatenate(x), *(p for p, _ in shards))
    except ValueError as error:
        raise UserError(
            "shards of the zoo have networks of one width with other tensors; let "
            "python -m lopt.predict.zoo make it in another workdir"
        ) from error
    records = [record for _, own in shards for record in own]
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


def spec_of(params: PyTree[Array]) -> PermutationSpec:
    """The weight space of a network of the zoo, inferred from its code.

    Example:
      >>> from lopt.predict.seq2seq import init
      >>> spec = spec_of(init(jax.random.key(0), 8))
      >>> [spec.sizes[name] for name in spec.groups]
      [8]
    """
    sums = all_sums(4).take(np.arange(1))
    return infer_spec(lambda p: logits(p, *map(jnp.asarray, sums)), params)

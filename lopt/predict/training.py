"""The runs of a zoo, many at a time: one compiled scan, vmapped over what they differ in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from lopt.base.checks import POSITIVE, SIZE, Check, checked, integer, sequence
from lopt.base.errors import UserError
from lopt.predict.arithmetic import Sums, all_sums, hold_out
from lopt.predict.seq2seq import init, loss, success

_SUMS_SEED = 0  # decides which sums are unseen, the same for all networks
_RUNS = 2**20  # the most runs of a zoo: each has a seed of 32 bits that no run of another zoo has

_SEEDS = 2**32 // _RUNS


def _rising(name: str, value: Any) -> tuple[float, float]:
    low, high = sequence(POSITIVE)(name, value)
    if low > high:
        raise ValueError
    return low, high


_BOUNDS = dict.fromkeys(
    ("learning_rate", "init_scale", "share"), Check("two rising positive numbers", _rising)
)
"""The bounds between which each run draws, and what they must be."""


class Hyperparameters(NamedTuple):
    """The numbers in which runs differ, an array each; a run trains on so many of the sums."""

    learning_rate: Float[np.ndarray | Array, " runs"]
    init_scale: Float[np.ndarray | Array, " runs"]
    sums: Int[np.ndarray | Array, " runs"]
    seed: Int[np.ndarray | Array, " runs"]


class Scores(NamedTuple):
    """Success and loss of networks on sums that they trained on, and on unseen ones."""

    train_success: Float[Array, "..."]
    train_loss: Float[Array, "..."]
    test_success: Float[Array, "..."]
    test_loss: Float[Array, "..."]


@dataclass(frozen=True)
@checked(
    "zoo",
    widths=sequence(SIZE, 1),
    runs=sequence(SIZE, 1),
    snapshots=SIZE,
    steps=SIZE,
    every=SIZE,
    batch_sizes=sequence(SIZE, 1),
    together=SIZE,
    seed=integer(0, _SEEDS - 1),
    **_BOUNDS,
)
class Zoo:
    """The settings of a zoo.

    Attributes:
      widths: of the networks' hidden states.
      runs: the number of training runs of each width.
      snapshots: networks of a run, at times that are drawn for it.
      steps: of a run.
      every: steps between two times at which a snapshot may be.
      batch_sizes: shards take them in turn.
      together: runs of a shard, which are trained at once.
      numbers: summands are the numbers below this one.
      unseen: how many of all sums no network trains on.
      learning_rate: bounds of Adam's, drawn log-uniformly, as are the next two.
      init_scale: bounds of the scale of initial kernels.
      share: bounds of the fraction of the other sums that a run trains on.
      seed: of all that is drawn.
    """

    widths: Sequence[int] = (32,)
    runs: Sequence[int] = (700,)
    snapshots: int = 3
    steps: int = 1400
    every: int = 100
    batch_sizes: Sequence[int] = (64, 128, 256)
    together: int = 16
    numbers: int = 20
    unseen: int = 100
    learning_rate: Sequence[float] = (1e-4, 1e-2)
    init_scale: Sequence[float] = (0.5, 2.0)
    share: Sequence[float] = (0.5, 1.0)
    seed: int = 0

    def __post_init__(self):
        if sum(self.runs) > _RUNS:
            raise UserError(f"zoo: runs are at most {_RUNS:,} together, not {sum(self.runs):,}")
        if len(self.widths) != len(self.runs):
            raise UserError(
                f"zoo: {len(self.widths)} widths and {len(self.runs)} numbers of runs; give one "
                "for each width"
            )
        if self.steps // self.every < self.snapshots:
            raise UserError(
                f"zoo: {self.steps} steps have {self.steps // self.every} times at which a network "
                f"may be kept, and snapshots are {self.snapshots}; lower zoo.every"
            )
        if self.share[1] > 1:
            raise UserError(f"zoo: share is at most 1, not {self.share[1]}")
        self.data()

    def data(self) -> tuple[Sums, Sums]:
        """The sums to train on, from which a run takes the first ones, and the unseen ones."""
        return hold_out(all_sums(self.numbers), self.unseen, _SUMS_SEED)

    def hyperparameters(self, runs: range) -> Hyperparameters:
        """Those of runs, log-uniform between the bounds, whatever the shards that they are in."""
        most = len(self.data()[0].questions)
        bounds = np.log([getattr(self, name) for name in _BOUNDS])
        unit = np.array([np.random.default_rng((self.seed, run)).random(3) for run in runs])
        rates, scales, fractions = np.exp(bounds[:, :1] + unit.T * (bounds[:, 1:] - bounds[:, :1]))
        return Hyperparameters(
            rates.astype(np.float32),
            scales.astype(np.float32),
            np.clip(np.round(fractions * most), 1, most).astype(np.int32),
            np.array([self.seed * _RUNS + run for run in runs], np.uint32),
        )

    def times(self, run: int) -> Int[np.ndarray, " snapshots"]:
        """Which of the times a run's snapshots are at, from 0, in order."""
        rng = np.random.default_rng((self.seed, run, 1))  # apart from what hyperparameters draw
        return np.sort(rng.choice(self.steps // self.every, self.snapshots, replace=False))


@partial(jax.jit, static_argnums=(0, 1, 2))
def train(
    zoo: Zoo, width: int, batch_size: int, hyperparameters: Hyperparameters
) -> tuple[PyTree[Float[Array, "runs times ..."]], Scores]:
    """Train networks of one width; returns params and scores at all times of each run.

    Sums of a batch are drawn with replacement.
    """
    known, unseen = jax.tree.map(jnp.asarray, zoo.data())

    def one(hyper: Hyperparameters) -> tuple[PyTree[Array], Scores]:
        start, batches = jax.random.split(jax.random.key(hyper.seed))
        optimizer = optax.adam(hyper.learning_rate)
        params = init(start, width, jnp.asarray(hyper.init_scale))

        def step(state: tuple, number: Array) -> tuple[tuple, None]:
            params, opt_state = state
            # of the step's number alone, so that other snapshots leave the batches as they are
            key = jax.random.fold_in(batches, number)
            index = jax.random.randint(key, (batch_size,), 0, hyper.sums)
            grads = jax.grad(loss)(params, known.questions[index], known.answers[index])
            updates, opt_state = optimizer.update(grads, opt_state)
            return (optax.apply_updates(params, updates), opt_state), None

        def segment(state: tuple, number: Array) -> tuple[tuple, tuple[PyTree[Array], Scores]]:
            numbers = number * zoo.every + jnp.arange(zoo.every)
            state, _ = jax.lax.scan(step, state, numbers)
            return state, (state[0], _scores(state[0], known, unseen, hyper.sums))

        segments = jnp.arange(zoo.steps // zoo.every)
        _, found = jax.lax.scan(segment, (params, optimizer.init(params)), segments)
        return found

    return jax.vmap(one)(hyperparameters)


def _scores(
    params: PyTree[Array], known: Sums, unseen: Sums, sums: Int[np.ndarray | Array, ""]
) -> Scores:
    """Success and loss on the unseen sums, and on as many, evenly spread, of those trained on."""
    count = len(unseen.questions)
    index = (jnp.arange(count) * sums) // count
    seen = Sums(known.questions[index], known.answers[index])

    def on(sums: Sums) -> tuple[Array, Array]:
        questions, answers = map(jnp.asarray, sums)
        return success(params, questions, answers), loss(params, questions, answers)

    return Scores(*on(seen), *on(unseen))

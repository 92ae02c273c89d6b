"""Training runs of many networks at a time: one compiled scan, vmapped over their settings."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

from lopt.predict.arithmetic import Sums, all_sums, hold_out
from lopt.predict.seq2seq import init, loss, success

_SUMS_SEED = 0
"""What sums are unseen is the same for all networks."""

RUNS = 2**20
"""How many runs a zoo can have, each with a seed of 32 bits that no run of another zoo has."""


class Hyperparameters(NamedTuple):
    """What runs differ in, an array each.

    Attributes:
      learning_rate: of Adam.
      init_scale: of the kernels, see `seq2seq.init`.
      sums: how many of the sums a run trains on.
      seed: of its initial params and batches.
    """

    learning_rate: Float[np.ndarray | Array, " runs"]
    init_scale: Float[np.ndarray | Array, " runs"]
    sums: Int[np.ndarray | Array, " runs"]
    seed: Int[np.ndarray | Array, " runs"]


class Scores(NamedTuple):
    """How networks do on sums that they trained on, and on unseen ones."""

    train_success: Float[Array, "..."]
    train_loss: Float[Array, "..."]
    test_success: Float[Array, "..."]
    test_loss: Float[Array, "..."]


@dataclass(frozen=True)
class Training:
    """What runs have in common.

    Attributes:
      width: of the hidden states.
      batch_size: sums in a batch, drawn with replacement.
      steps: of a run.
      every: steps between two snapshots.
      numbers: summands are the numbers below this one.
      unseen: how many of all sums no network trains on.
    """

    width: int
    batch_size: int
    steps: int
    every: int
    numbers: int
    unseen: int

    def data(self) -> tuple[Sums, Sums]:
        """The sums to train on, from which a run takes the first ones, and the unseen ones."""
        return hold_out(all_sums(self.numbers), self.unseen, _SUMS_SEED)


def draw(
    runs: range,
    seed: int,
    most_sums: int,
    learning_rate: tuple[float, float],
    init_scale: tuple[float, float],
    share: tuple[float, float],
) -> Hyperparameters:
    """The hyperparameters of runs, each log-uniform between two bounds; those of a run are its own.

    Args:
      runs: their numbers.
      seed: of the zoo.
      most_sums: how many there are to train on.
      learning_rate: the bounds of Adam's.
      init_scale: those of the kernels' scale.
      share: those of the share of the sums that a run trains on.

    Example:
      >>> bounds = (1e-4, 1e-2), (0.5, 2.0), (0.5, 1.0)
      >>> draw(range(2, 3), 0, 100, *bounds) == draw(range(4), 0, 100, *bounds)._replace(
      ...     **{k: v[2:3] for k, v in draw(range(4), 0, 100, *bounds)._asdict().items()})
      True
    """
    bounds = np.log([learning_rate, init_scale, share])
    unit = np.array([np.random.default_rng((seed, run)).random(3) for run in runs])
    rates, scales, shares = np.exp(bounds[:, :1] + unit.T * (bounds[:, 1:] - bounds[:, :1]))
    sums = np.clip(np.round(shares * most_sums), 1, most_sums)
    return Hyperparameters(
        rates.astype(np.float32),
        scales.astype(np.float32),
        sums.astype(np.int32),
        np.array([seed * RUNS + run for run in runs], np.uint32),
    )


@partial(jax.jit, static_argnums=0)
def train(
    training: Training, hyperparameters: Hyperparameters
) -> tuple[PyTree[Float[Array, "runs snapshots ..."]], Scores]:
    """Train networks, and keep their params and scores at every snapshot.

    Args:
      training: what they have in common; another one compiles another program.
      hyperparameters: what they differ in.

    Returns:
      Params and scores, each with leading axes (runs, snapshots).
    """
    known, unseen = jax.tree.map(jnp.asarray, training.data())

    def one(hyper: Hyperparameters) -> tuple[PyTree[Array], Scores]:
        start, batches = jax.random.split(jax.random.key(hyper.seed))
        optimizer = optax.adam(hyper.learning_rate)
        params = init(start, training.width, jnp.asarray(hyper.init_scale))

        def step(state: tuple, number: Array) -> tuple[tuple, None]:
            params, opt_state = state
            key = jax.random.fold_in(batches, number)
            index = jax.random.randint(key, (training.batch_size,), 0, hyper.sums)
            grads = jax.grad(loss)(params, known.questions[index], known.answers[index])
            updates, opt_state = optimizer.update(grads, opt_state)
            return (optax.apply_updates(params, updates), opt_state), None

        def segment(state: tuple, number: Array) -> tuple[tuple, tuple[PyTree[Array], Scores]]:
            numbers = number * training.every + jnp.arange(training.every)
            state, _ = jax.lax.scan(step, state, numbers)
            return state, (state[0], _scores(state[0], known, unseen, hyper.sums))

        segments = jnp.arange(training.steps // training.every)
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

"""Training runs of optimizers side by side: same seeds, same batches, every setting."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from lopt.meta.unroll import start, unroll
from lopt.schedules import SCHEDULES
from lopt.tasks import Task

_FIRST_SEED = 1_000_000
"""Trials take the seeds from here on, far from those that meta-training is given."""

FINAL_SHARE = 0.05
"""The share of the steps, at the end of a run, that the final loss is the mean of."""

Maker = Callable[[optax.Schedule], optax.GradientTransformation]


@dataclass(frozen=True, eq=False)
class Trial:
    """One optimizer at one setting, trained from several seeds.

    Attributes:
      name: of the optimizer.
      kind: "learned" or "baseline".
      learning_rate: the peak.
      schedule: a name in `lopt.schedules.SCHEDULES`.
      losses: of each seed and step, on the step's own batch, before the step.
      metrics: of each seed, on the held-out split after the last step.
    """

    name: str
    kind: str
    learning_rate: float
    schedule: str
    losses: Float[np.ndarray, "seeds steps"]
    metrics: dict[str, Float[np.ndarray, " seeds"]]

    @property
    def mean_losses(self) -> Float[np.ndarray, " seeds"]:
        """The mean loss over each seed's run."""
        return self.losses.mean(1)

    @property
    def final_losses(self) -> Float[np.ndarray, " seeds"]:
        """The mean loss over the last `FINAL_SHARE` of each seed's run."""
        last = max(1, round(FINAL_SHARE * self.losses.shape[1]))
        return self.losses[:, -last:].mean(1)

    @property
    def mean_loss(self) -> float:
        """The mean loss over all steps and seeds; infinite if a seed's is not finite."""
        return _worst_if_not_finite(self.mean_losses.mean())

    @property
    def final_loss(self) -> float:
        """The mean final loss over seeds; infinite if a seed's is not finite."""
        return _worst_if_not_finite(self.final_losses.mean())


def run_trials(
    task: Task,
    name: str,
    kind: str,
    make: Maker,
    learning_rates: Sequence[float],
    schedule_name: str,
    steps: int,
    seeds: int,
) -> list[Trial]:
    """Train with each learning rate from each seed, all in one compiled call.

    Seed i means the same initial params and the same batches for every optimizer.

    Args:
      task: what is trained.
      name: what the trials are called.
      kind: "learned" or "baseline".
      make: learning-rate schedule -> optimizer.
      learning_rates: the peaks.
      schedule_name: a name in `lopt.schedules.SCHEDULES`, the same for all.
      steps: training steps of a run.
      seeds: how many runs each setting gets.
    """
    keys = jnp.stack([jax.random.key(_FIRST_SEED + i) for i in range(seeds)])
    peaks = jnp.asarray(learning_rates, jnp.float32)

    @jax.jit
    def train_all(task: Task) -> tuple[Array, dict[str, Array]]:
        train = partial(_train, task, make, schedule_name, steps)
        return jax.vmap(jax.vmap(train, (None, 0)), (0, None))(peaks, keys)

    losses, metrics = jax.tree.map(np.asarray, train_all(task))
    return [
        Trial(
            name, kind, float(lr), schedule_name, losses[i], {k: v[i] for k, v in metrics.items()}
        )
        for i, lr in enumerate(learning_rates)
    ]


def _train(
    task: Task, make: Maker, schedule_name: str, steps: int, peak: Array, key: Array
) -> tuple[Array, dict[str, Any]]:
    optimizer = make(SCHEDULES[schedule_name](peak, steps))
    run, losses = unroll(task, optimizer, start(task, optimizer, key, steps), steps)
    return losses.values, task.evaluate(run.params, run.model_state)


def _worst_if_not_finite(value: float) -> float:
    return float(value) if np.isfinite(value) else float("inf")

"""Inner training: one step, and a run of steps, of any optax transformation on any task."""

from typing import NamedTuple

import jax
import optax
from jaxtyping import Array, Float, Int, PyTree

from lopt.tasks import Task


class Run(NamedTuple):
    """An inner run between two steps.

    Attributes:
      params: the model's weights.
      model_state: batch statistics and the like.
      opt_state: the optimizer's state.
      step: how many steps were taken.
      key: what the run's data and noise are derived from, together with the step.
    """

    params: PyTree[Array]
    model_state: PyTree[Array]
    opt_state: PyTree[Array]
    step: Int[Array, ""]
    key: Array


def start(task: Task, optimizer: optax.GradientTransformation, key: Array) -> Run:
    """A run before its first step; the same key gives the same params and the same data."""
    init_key, run_key = jax.random.split(key)
    params, model_state = task.init(init_key)
    return Run(params, model_state, optimizer.init(params), jax.numpy.int32(0), run_key)


def step(
    task: Task, optimizer: optax.GradientTransformation, run: Run
) -> tuple[Run, Float[Array, ""]]:
    """One inner step; returns the loss of the batch before the step."""
    batch_key, loss_key = jax.random.split(jax.random.fold_in(run.key, run.step))
    batch = task.batch(run.model_state, batch_key)
    grad = jax.value_and_grad(task.loss, has_aux=True)
    (loss, model_state), grads = grad(run.params, run.model_state, batch, loss_key)
    optimizer = optax.with_extra_args_support(optimizer)
    updates, opt_state = optimizer.update(grads, run.opt_state, run.params, value=loss)
    params = optax.apply_updates(run.params, updates)
    return Run(params, model_state, opt_state, run.step + 1, run.key), loss


def unroll(
    task: Task, optimizer: optax.GradientTransformation, run: Run, length: int
) -> tuple[Run, Float[Array, " length"]]:
    """`length` inner steps as one scan; returns the run after them and the loss of each."""

    def body(run: Run, _: None) -> tuple[Run, Float[Array, ""]]:
        return step(task, optimizer, run)

    return jax.lax.scan(body, run, length=length)

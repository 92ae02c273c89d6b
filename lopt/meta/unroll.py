"""Inner training: one step, and a run of steps, of any optax transformation on any task."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from lopt.tasks import Task


class Run(NamedTuple):
    """An inner run between two steps."""

    params: PyTree[Array]
    model_state: PyTree[Array]  # batch statistics and the like
    opt_state: PyTree[Array]
    step: Int[Array, ""]  # how many were taken
    length: Int[Array, ""]  # how many steps the run is to have
    key: Array  # of the run's data and noise, together with the step


class Losses(NamedTuple):
    """The losses of a run's steps."""

    values: Float[Array, "*particles steps"]  # of each step's batch, before the step
    fraction: Float[Array, "*particles steps"]  # of the run that was over then, below 1


def init_run(
    task: Task,
    optimizer: optax.GradientTransformation,
    key: Array,
    length: Int[Array, ""] | int,
) -> Run:
    """A run before its first step; the same key gives the same params and the same data.

    The optimizer gets `length`, the steps that the run is to have, as `total_steps`.
    """
    init_key, run_key = jax.random.split(key)
    params, model_state = task.init(init_key)
    opt_state = optimizer.init(params)
    return Run(params, model_state, opt_state, jnp.int32(0), jnp.int32(length), run_key)


def step(
    task: Task, optimizer: optax.GradientTransformation, run: Run
) -> tuple[Run, Float[Array, ""]]:
    """One inner step; returns the loss of the batch before the step.

    The optimizer's `update` is given the extra arguments `value`, that loss, `obj_fn`, the batch's
    loss as a function of the params, and `total_steps`, the length of the run.
    """
    # of the step, and not of a key that is handed on: a run draws alike wherever it is cut
    batch_key, loss_key = jax.random.split(jax.random.fold_in(run.key, run.step))
    batch = task.batch(run.model_state, batch_key)
    grad = jax.value_and_grad(task.loss, has_aux=True)
    (loss, model_state), grads = grad(run.params, run.model_state, batch, loss_key)
    optimizer = optax.with_extra_args_support(optimizer)

    def batch_loss(params: PyTree[Array]) -> Float[Array, ""]:
        return task.loss(params, run.model_state, batch, loss_key)[0]

    updates, opt_state = optimizer.update(
        grads,
        run.opt_state,
        run.params,
        value=loss,
        obj_fn=batch_loss,
        total_steps=run.length,
    )
    params = optax.apply_updates(run.params, updates)
    return Run(params, model_state, opt_state, run.step + 1, run.length, run.key), loss


def unroll(
    task: Task, optimizer: optax.GradientTransformation, run: Run, steps: int
) -> tuple[Run, Losses]:
    """Some inner steps as one scan; returns the run after them and the loss of each."""

    def body(run: Run, _: None) -> tuple[Run, Losses]:
        fraction = run.step / run.length
        run, loss = step(task, optimizer, run)
        return run, Losses(loss, fraction)

    return jax.lax.scan(body, run, length=steps)


def whole_run(
    task: Task, optimizer: optax.GradientTransformation, key: Array, length: int
) -> Losses:
    """The losses of a run from its first step to its last."""
    run = init_run(task, optimizer, key, length)
    return unroll(task, optimizer, run, length)[1]

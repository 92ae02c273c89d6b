"""Families of a model's weights: their initial scale, and other parameters for one function."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from lopt.base.checks import named
from lopt.tasks.families.family import (
    DrawingFamily,
    Drawn,
    Family,
    Range,
    Varied,
    log_uniform,
    require_range,
    vary,
)
from lopt.tasks.task import Batch, Params, State, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class InitialScale(Family):
    """Each run starts from matrices and kernels multiplied by a random factor.

    Tensors of fewer than two axes, biases and the scales of normalizations, stay.

    Attributes:
      scale: the least and the greatest factor; log-uniform.
    """

    scale: Range = field(metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, State]:
        init_key, scale_key = jax.random.split(key)
        params, state = self.task.init(init_key)
        scale = log_uniform(scale_key, self.scale)
        return jax.tree.map(lambda p: p * scale if p.ndim > 1 else p, params), state


LEVELS = ("global", "tensor", "parameter")
"""Levels of factors: one for all params, one for each tensor, one for each number."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Reparametrize(DrawingFamily):
    """Each run trains other parameters of the same function: `model(c * params)`, with random c.

    They start at `initial / c`, so that the function is what it would have been. Its gradients,
    and with them the path of any optimizer that is not invariant to scale, are not: a learning
    rate's effect on a parameter of SGD grows with c squared, and that of Adam with c, as in the
    task augmentation of Metz et al. (arXiv 2211.09760).

    Factors of single parameters move with their neurons: permuting params and factors alike leaves
    the function as it is, and the spec is that of the task.

    Attributes:
      scale: the least and the greatest factor c; log-uniform.
      level: where the factor is another: "global" for nowhere, in each "tensor", or in each
        "parameter".
    """

    scale: Range = field(metadata={"static": True})
    level: str = field(metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, Drawn]:
        init_key, scale_key = jax.random.split(key)
        params, state = self.task.init(init_key)
        factors = self._factors(scale_key, params)
        return jax.tree.map(jnp.divide, params, factors), Drawn(factors, state)

    def _factors(self, key: Array, params: Params) -> PyTree[Float[Array, "..."]]:
        leaves, structure = jax.tree.flatten(params)
        if self.level == "global":
            return jax.tree.unflatten(structure, [log_uniform(key, self.scale)] * len(leaves))
        keys = jax.random.split(key, len(leaves))
        shapes = [p.shape if self.level == "parameter" else () for p in leaves]
        found = [log_uniform(k, self.scale, s) for k, s in zip(keys, shapes, strict=True)]
        return jax.tree.unflatten(structure, found)

    def loss(
        self, params: Params, state: Drawn, batch: Batch, key: Array
    ) -> tuple[Float[Array, ""], Drawn]:
        return super().loss(_product(params, state.value), state, batch, key)

    def evaluate(self, params: Params, state: Drawn) -> dict[str, Float[Array, ""]]:
        return super().evaluate(_product(params, state.value), state)


def _product(params: Params, factors: Params) -> Params:
    return jax.tree.map(jnp.multiply, params, factors)


def initial_scale(task: Varied = "mlp", scale: Range = (0.3, 3.0)) -> Task:
    """A family whose runs start from scaled weights; see `InitialScale`.

    Args:
      task: what it varies: a task, or its text such as `"cnn(widths=(8,))"`.
      scale: the least and the greatest factor.

    Raises:
      UserError: for a range that is not positive.
    """
    limits = require_range("initial_scale", "scale", scale, 1e-6)
    return InitialScale(vary("initial_scale", task), limits)


def reparametrize(task: Varied = "mlp", scale: Range = (0.1, 10.0), level: str = "tensor") -> Task:
    """A family whose runs train other parameters of one function; see `Reparametrize`.

    Args:
      task: what it varies: a task, or its text such as `"cnn(widths=(8,))"`.
      scale: the least and the greatest factor.
      level: where the factor is another: "global" for nowhere, in each "tensor", or in each
        "parameter".

    Raises:
      UserError: for a range that is not positive, or an unknown level.
    """
    limits = require_range("reparametrize", "scale", scale, 1e-6)
    level = named("level", LEVELS)("reparametrize: level", level)
    return Reparametrize(vary("reparametrize", task), limits, level)

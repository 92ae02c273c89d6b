"""A quadratic bowl: an inner task whose optimum and meta-gradients are known exactly."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lopt.base.checks import number, require_positive
from lopt.tasks.task import Params, State, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Quadratic(Task):
    """Half the curvature-weighted square of the params: `0.5 * sum(curvature * (x - noise)^2)`.

    A batch is a draw of the noise; without noise the optimum is zero, and reached at zero.

    Attributes:
      curvature: of each coordinate, positive.
      noise: standard deviation of the noise in a batch.
    """

    curvature: Float[Array, " dimension"]
    noise: float = field(default=0.0, metadata={"static": True})

    def init(self, key: Array) -> tuple[Params, State]:
        return {"x": jax.random.normal(key, self.curvature.shape)}, {}

    def batch(self, state: State, key: Array) -> Float[Array, " dimension"]:
        return self.noise * jax.random.normal(key, self.curvature.shape)

    def loss(
        self, params: Params, state: State, batch: Array, key: Array
    ) -> tuple[Float[Array, ""], State]:
        return 0.5 * jnp.sum(self.curvature * (params["x"] - batch) ** 2), state

    def evaluate(self, params: Params, state: State) -> dict[str, Float[Array, ""]]:
        return {"loss": 0.5 * jnp.sum(self.curvature * params["x"] ** 2)}


def quadratic(dimension: int = 8, condition: float = 10.0, noise: float = 0.0) -> Task:
    """A bowl whose curvatures lie evenly on a log axis.

    Args:
      dimension: how many coordinates.
      condition: the largest curvature, which is one, over the smallest.
      noise: standard deviation of the noise in a batch.

    Raises:
      UserError: if the dimension is not a positive integer, the condition below one, or the noise
        negative.
    """
    require_positive("quadratic", dimension=dimension)
    condition = number(1)("quadratic: condition", condition)
    noise = number(0)("quadratic: noise", noise)
    return Quadratic(jnp.logspace(0, -jnp.log10(condition), dimension), noise)

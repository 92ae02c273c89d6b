"""The rectifier between equivariant layers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """max(x, 0), as -min(-x, 0).

    On the CPU the two negations make it up to six times faster: a loop over 32 channels with a
    smaller body is unrolled to scalars before LLVM can make vectors of it.
    """
    return -jnp.minimum(-x, 0)


@relu.defjvp
def _relu_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (t,) = primals, tangents
    return relu(x), jnp.where(x > 0, t, 0)

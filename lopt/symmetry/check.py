"""The numeric proof of a permutation spec."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lopt.symmetry.spec import PermutationSpec


@dataclass(frozen=True)
class SpecCheck:
    """What `check_spec` found; true if the spec holds.

    Attributes:
      errors: for each true group, how much the outputs change when it alone is permuted, relative
        to their size.
      together: the same, when all groups are permuted at once.
      tolerance: what may be rounding.
    """

    errors: Mapping[str, float]
    together: float
    tolerance: float

    @property
    def failed(self) -> dict[str, float]:
        """The groups that are no symmetries, with their errors, worst first."""
        worst = sorted(self.errors, key=lambda name: -self.errors[name])
        return {n: self.errors[n] for n in worst if not self.errors[n] <= self.tolerance}

    def __bool__(self) -> bool:
        return not self.failed and self.together <= self.tolerance


def check_spec(
    fn: Callable[..., Any], params: PyTree[Array], spec: PermutationSpec, *args: Any
) -> SpecCheck:
    """Check on numbers that the true groups of a spec are symmetries of a function."""
    spec.validate(params)
    with jax.enable_x64(True):
        key = jax.random.key(0)
        params, args = jax.tree.map(_widen, (params, args))
        params = _spread(params, jax.random.fold_in(key, 1))
        run = jax.jit(lambda p: fn(p, *args))
        reference = run(params)

        def error(permutations: Mapping[str, Array]) -> float:
            return _difference(reference, run(spec.permute(params, permutations)))

        cycles = {
            name: _cycle(jax.random.fold_in(key, i), spec.sizes[name])
            for i, name in enumerate(spec.groups)
        }
        errors = {name: error({name: cycle}) for name, cycle in cycles.items()}
        return SpecCheck(errors, error(cycles), 1e-7)


def _widen(x: Any) -> Any:
    if isinstance(x, jax.Array | np.ndarray) and jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.asarray(x, jnp.float64)
    return x


def _spread(params: PyTree[Array], key: Array) -> PyTree[Array]:
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(structure, [_noisy(x, k) for x, k in zip(leaves, keys, strict=True)])


def _noisy(x: Array, key: Array) -> Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    noise = 0.3 * jax.random.normal(key, x.shape, x.dtype)
    if x.size and x.min() > 0:
        return x * jnp.exp(noise)
    return x + noise * jnp.maximum(jnp.sqrt(jnp.mean(x**2)), 0.3)


def _cycle(key: Array, size: int) -> Array:
    order = np.asarray(jax.random.permutation(key, size))
    permutation = np.empty(size, int)
    permutation[order] = np.roll(order, 1)
    return jnp.asarray(permutation)


def _difference(a: PyTree[Array], b: PyTree[Array]) -> float:
    worst = 0.0
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x, float), np.asarray(y, float)
        if x.size:
            scale = np.abs(x).max() or 1.0
            worst = max(worst, float(np.abs(x - y).max() / scale))
    return worst

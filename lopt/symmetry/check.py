"""The numeric check of a permutation spec."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jaxtyping import Array, PyTree

from lopt.symmetry.axes import Axis, groups_of, rename
from lopt.symmetry.infer import UnknownPrimitiveWarning, infer_spec, on_arrays
from lopt.symmetry.jaxprs import shape_of
from lopt.symmetry.outside import FixedUnitsWarning
from lopt.symmetry.paths import leaves_with_path, name_of
from lopt.symmetry.spec import PermutationSpec, SpecError, require_spec


@dataclass(frozen=True)
class SpecCheck:
    """The result of `check_spec`. It is true if the spec holds, and prints as a table.

    Attributes:
      errors: for each true group, by how much the outputs change when it alone is permuted,
        relative to their size.
      together: the same when all true groups are permuted at once.
      merged: for each true group whose axes belong to several neuron groups that can be permuted
        one without the other, the axes of each of those.
      tolerance: the error up to which a difference is rounding.
    """

    errors: Mapping[str, float]
    together: float
    merged: Mapping[str, tuple[tuple[str, ...], ...]]
    tolerance: float

    @property
    def failed(self) -> dict[str, float]:
        """The groups that are no symmetries, with their errors, the worst first.

        Errors that differ by rounding only count as alike; their groups keep the spec's order.
        """
        worst = sorted(self.errors, key=lambda n: float(f"{self.errors[n]:.1e}"), reverse=True)
        return {n: self.errors[n] for n in worst if not self.errors[n] <= self.tolerance}

    def __bool__(self) -> bool:
        return not self.failed and not self.merged and self.together <= self.tolerance

    def __str__(self) -> str:
        lines = [
            f"{name}: the outputs change by {error:.1e} of their size, which is not rounding "
            f"(at most {self.tolerance:.0e})"
            for name, error in self.failed.items()
        ]
        lines += [
            f"{name}: these are separate groups: {' | '.join(' '.join(axes) for axes in groups)}"
            for name, groups in self.merged.items()
        ]
        if not self.failed and not self.together <= self.tolerance:
            lines.append(f"all groups together: the outputs change by {self.together:.1e}")
        return "\n".join(lines) or (
            f"{len(self.errors)} groups hold: the outputs change by at most "
            f"{max([self.together, *self.errors.values()]):.1e} of their size"
        )


def check_spec(
    fn: Callable[..., Any], params: PyTree[Array], spec: PermutationSpec, *args: Any
) -> SpecCheck:
    """Check on numbers that the true groups of a spec are symmetries of a function.

    Each true group alone, and then all of them together, are permuted so that no index stays where
    it was, and the outputs are compared. This is done in double precision where `fn` allows it,
    and at random params: those given, with noise, since fresh ones (zero biases, unit scales)
    have symmetries that trained ones lack. A spec also fails if one of its groups is several
    groups that have nothing to do with each other.

    Args:
      fn: a function of params and args.
      params: a pytree of arrays.
      spec: written by hand or inferred.
      *args: further arguments of `fn`, used as they are.

    Returns:
      A `SpecCheck`: true if the spec holds, otherwise it tells which group fails, and by how much.

    Raises:
      SpecError: if the spec is not a `PermutationSpec` or does not fit the params, params have no
        numbers, or the outputs are not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from lopt.symmetry import Axes
      >>> def mlp(params, x):
      ...     return jax.nn.relu(x @ params["w1"]) @ params["w2"]
      >>> params = {"w1": jnp.ones((3, 4)), "w2": jnp.ones((4, 2))}
      >>> axes = {"w1": Axes("in", "h"), "w2": Axes("h", "out")}
      >>> x = jax.random.normal(jax.random.key(0), (5, 3))
      >>> bool(check_spec(mlp, params, PermutationSpec.for_params(axes, params, ["in", "out"]), x))
      True
      >>> wrong = PermutationSpec.for_params(axes, params, ["out"])
      >>> list(check_spec(mlp, params, wrong, x).failed)
      ['in']
    """
    require_spec(spec).validate(params)
    for path, leaf in leaves_with_path((params, args)):
        if isinstance(leaf, jax.ShapeDtypeStruct):
            where = "params" if path[0] == 0 else "args"
            raise SpecError(f"check_spec needs numbers: {where}/{name_of(path[1:])} is a shape")
    merged = _merged(spec, fn, params, args)
    double, tolerance = _precision(fn, params, args)
    random = np.random.default_rng(0)
    identity = {name: np.arange(spec.sizes[name]) for name in spec.groups}
    cycles = {name: _cycle(random, n) for name, n in spec.sizes.items() if name in identity}
    with jax.enable_x64(double):
        if double:
            params, args = _widened(params), _widened(args)
        params = jax.tree.map(lambda x: _noisy(x, random), params)
        of_arrays, arrays = on_arrays(fn, args)

        @jax.jit
        def outputs(params: Any, permutations: Any, arrays: Any) -> Any:
            return of_arrays(spec.permute(params, permutations), arrays)

        def run(permutations: dict[str, np.ndarray]) -> list[np.ndarray]:
            return _numbers(outputs(params, permutations, arrays))

        reference = run(identity)
        if not all(np.isfinite(x).all() for x in reference):
            raise SpecError("check_spec: the outputs are not finite, so they cannot be compared")

        def error(permutations: dict[str, np.ndarray]) -> float:
            return _difference(reference, run(permutations))

        errors = {name: error(identity | {name: cycles[name]}) for name in cycles}
        together = error(cycles)
    return SpecCheck(errors, together, merged, tolerance)


def _precision(fn: Callable[..., Any], params: PyTree[Array], args: tuple) -> tuple[bool, float]:
    """Whether `fn` can run in double precision, and up to which error a difference is rounding."""
    of_arrays, arrays = on_arrays(fn, args)
    trace = jax.make_jaxpr(of_arrays)
    with jax.enable_x64(True):
        try:
            return True, _tolerance(trace(_widened(params), _widened(arrays)).jaxpr)
        except Exception:
            pass  # Many models name their dtype, which then differs from that of the params.
    with jax.enable_x64(False):
        return False, _tolerance(trace(params, arrays).jaxpr)


def _tolerance(jaxpr: core.Jaxpr) -> float:
    # Half of the digits: rounding in deep models loses some, and a wrong group changes the first.
    return max((float(jnp.finfo(d).eps) ** 0.5 for d in _float_types(jaxpr)), default=0.0)


def _float_types(jaxpr: core.Jaxpr) -> Iterator[Any]:
    """The types of the arrays that are read and made; single numbers may be wider or narrower."""
    for var in (*jaxpr.invars, *(var for eqn in jaxpr.eqns for var in eqn.outvars)):
        dtype = getattr(var.aval, "dtype", None)
        if shape_of(var) and dtype is not None and jnp.issubdtype(dtype, jnp.floating):
            yield dtype
    for eqn in jaxpr.eqns:
        for inner in core.jaxprs_in_params(eqn.params):
            yield from _float_types(inner)


def _widened(tree: Any) -> Any:
    def widen(x: Any) -> Any:
        real = isinstance(x, jax.Array | np.ndarray) and jnp.issubdtype(x.dtype, jnp.floating)
        return jnp.asarray(x, jnp.float64) if real else x

    return jax.tree.map(widen, tree)


def _noisy(x: Any, random: np.random.Generator) -> Any:
    """`x` with noise; an array of positive numbers, such as variances, stays positive."""
    dtype = jnp.result_type(x)
    if not np.size(x) or not jnp.issubdtype(dtype, jnp.floating):
        return x
    # Large enough to end the symmetries of zeros and ones, and small enough to saturate nothing.
    noise = 0.3 * random.standard_normal(np.shape(x))
    wide = np.asarray(x, float)
    if wide.min() > 0:
        return np.asarray(wide * np.exp(noise), dtype)
    return np.asarray(wide + noise * max(float(np.sqrt(np.mean(wide**2))), 0.3), dtype)


def _cycle(random: np.random.Generator, size: int) -> np.ndarray:
    """A random permutation that leaves no index where it was."""
    order = random.permutation(size)
    permutation = np.empty(size, int)
    permutation[order] = np.roll(order, 1)
    return permutation


def _numbers(tree: PyTree[Array]) -> list[np.ndarray]:
    leaves = [x for x in jax.tree.leaves(tree) if not jnp.issubdtype(x.dtype, jax.dtypes.extended)]
    return [np.asarray(x).astype(complex if np.iscomplexobj(x) else float) for x in leaves]


def _difference(reference: list[np.ndarray], outputs: list[np.ndarray]) -> float:
    """The largest difference between outputs, relative to the size of the output."""
    worst = 0.0
    for x, y in zip(reference, outputs, strict=True):
        if x.size:
            error = float(np.abs(x - y).max() / (np.abs(x).max() or 1.0))
            worst = max(worst, np.inf if np.isnan(error) else error)
    return worst


def _merged(
    spec: PermutationSpec, fn: Callable[..., Any], params: PyTree[Array], args: tuple
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """The groups whose axes inference finds to be in several true groups and in no other."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownPrimitiveWarning)
        warnings.simplefilter("ignore", FixedUnitsWarning)
        finest = infer_spec(fn, params, *args)
    # For each true group, the groups of the inferred spec in its place, and on which axes.
    shared: dict[str, dict[str, list[str]]] = {name: {} for name in spec.groups}
    finer_axes, where = dict(finest.entries), finest.where
    for path, axes in spec.entries:
        for i, (axis, fine) in enumerate(zip(axes, finer_axes[path], strict=True)):
            pairs = dict.fromkeys(zip(groups_of(axis), groups_of(fine), strict=False))
            for name, other in pairs if _form(axis) == _form(fine) else ():
                if name in shared and other in finest.groups:
                    shared[name].setdefault(other, []).append(f"{name_of(path)}.{i}")
    whole = {
        name: tuple(tuple(axes) for other, axes in groups.items() if axes == where[other])
        for name, groups in shared.items()
    }
    return {name: groups for name, groups in whole.items() if len(groups) > 1}


def _form(axis: Axis) -> Axis:
    """An axis without the names of its groups."""
    return rename(axis, dict.fromkeys(groups_of(axis), ""))

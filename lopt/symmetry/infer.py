"""The permutation spec of any JAX function, inferred from its trace."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any

import jax
import numpy as np
from flax.errors import TraceContextError
from jax.extend import core
from jaxtyping import Array, PyTree

from lopt.symmetry.interpret import InferenceError, SymbolWalk
from lopt.symmetry.naming import name_groups
from lopt.symmetry.outside import FixedUnitsWarning, advice, of_argument
from lopt.symmetry.paths import leaves_with_path, name_of
from lopt.symmetry.primitives import HANDLERS
from lopt.symmetry.spec import PermutationSpec
from lopt.symmetry.symbols import Atom, atoms, fix, mark_read
from lopt.symmetry.uses import find_uses
from lopt.symmetry.uses.roles import sides_of, with_uses


class UnknownPrimitiveWarning(UserWarning):
    """Inference met a primitive without a handler, and fixed every axis that it touches."""


def infer_spec(fn: Callable[..., Any], params: PyTree[Array], *args: Any) -> PermutationSpec:
    """Infer the permutation symmetries of a function of params.

    The function is traced on shapes, nothing is computed. Each axis of each parameter gets a
    symbol; the symbols are pushed through the equations of the trace, unified where two axes must
    be indexed alike, and fixed where order matters. Inputs and outputs are fixed: permuting a true
    group of the spec leaves `fn(params, *args)` as it was, for all params and all args. An axis
    that the function never reads is fixed, too.

    Args:
      fn: a function of params and args: the apply function of a model, or its loss, as in
        training but with dropout off. What it returns beside the outputs that matter, such as new
        batch statistics, is better left out.
      params: a pytree of arrays, or of shapes (`jax.ShapeDtypeStruct`).
      *args: further arguments: a batch, and what a model holds beside its params, as the state
        of an nnx model without them (docs/training.md). Arrays, shapes and random keys in them are
        traced; anything else (a flag, a string) is handed to `fn` as it is.

    Returns:
      A spec with the structure of `params`. Its groups are named after the modules that introduce
      them, in the order in which `fn` reads them. Where products read along other axes than the
      order of a tensor's axes tells, as `w @ x` does, its `Axes.roles` say so.

    Raises:
      InferenceError: if a leaf of `params` is no array, or `fn` cannot be traced.

    Warns:
      UnknownPrimitiveWarning: if `fn` uses primitives that have no handler. What is inferred is
        still true, and symmetries may be missing; see `register_primitive`.
      FixedUnitsWarning: if random numbers or statistics from outside of the params are all that
        tells hidden units apart, as dropout and a batch norm in evaluation do.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def mlp(params, x):
      ...     return jax.nn.relu(x @ params["w1"]) @ params["w2"]
      >>> params = {"w1": jnp.ones((3, 8)), "w2": jnp.ones((8, 2))}
      >>> print(infer_spec(mlp, params, jnp.ones((5, 3))))
      tensor  shape  groups
      w1      3×8    input, w1
      w2      8×2    w1, output
      <BLANKLINE>
      group   size         where
      input   3     fixed  w1.0
      w1      8     true   w1.1 w2.0
      output  2     fixed  w2.1
    """
    shapes = _shapes_of(params)
    jaxpr = _trace(fn, params, args)
    symbols = [tuple(Atom(n) for n in shape) for shape in shapes]
    names = _argument_names(fn, args)
    inputs = [*map(of_argument, jaxpr.in_avals[len(symbols) :], names, count())]

    walk = SymbolWalk(HANDLERS)
    for output in walk(jaxpr, [*symbols, *inputs]):
        for symbol in output:
            fix(symbol, "output")
            mark_read(symbol)
    for atom in (a for dims in symbols for symbol in dims for a in atoms(symbol)):
        if not atom.read or atom.size <= 1:
            fix(atom, "single" if atom.read else "unread")
    if walk.lost:
        warnings.warn(
            f"infer_spec has no handler of {', '.join(walk.lost)} and has fixed every axis that "
            "it touches; to find more symmetries, teach it with "
            f"lopt.register_primitive({next(iter(walk.lost))!r})",
            UnknownPrimitiveWarning,
            stacklevel=2,
        )
    fixed_units = advice([path for path, _ in leaves_with_path(params)], symbols)
    if fixed_units:
        warnings.warn(fixed_units, FixedUnitsWarning, stacklevel=2)
    uses = find_uses(jaxpr, shapes)
    return with_uses(name_groups(params, symbols, walk.order, sides_of(uses)), uses)


def _argument_names(fn: Callable[..., Any], args: tuple) -> list[str]:
    """The path of each array in the arguments, from the name that the function gives it."""
    names = [f"args/{i}" for i in range(len(args))]
    with suppress(ValueError, TypeError):  # Some functions have no signature.
        taken = list(inspect.signature(fn).parameters.values())[1 : len(args) + 1]
        for i, parameter in enumerate(taken):
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names[i] = parameter.name
    return [
        name_of((names[i], *path))
        for i, arg in enumerate(args)
        for path, leaf in leaves_with_path(arg)
        if _is_array(leaf)
    ]


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _shapes_of(params: PyTree[Array]) -> list[tuple[int, ...]]:
    leaves = leaves_with_path(params)
    if not leaves:
        raise InferenceError("infer_spec: params have no arrays")
    for path, leaf in leaves:
        if not _is_array(leaf) and not isinstance(leaf, int | float | complex):
            where = f"params/{name_of(path)}" if path else "params"
            raise InferenceError(
                f"{where} is a {type(leaf).__name__}, not an array; "
                "give infer_spec only the arrays of a model"
            )
    return [np.shape(leaf) for _, leaf in leaves]


def _trace(fn: Callable[..., Any], params: PyTree[Array], args: tuple) -> core.ClosedJaxpr:
    if not callable(fn):
        raise InferenceError(f"infer_spec: fn is a {type(fn).__name__}, not a function")
    of_arrays, arrays = on_arrays(fn, args)
    try:
        return jax.make_jaxpr(of_arrays)(params, arrays)
    except Exception as error:
        name = getattr(fn, "__qualname__", type(fn).__name__)
        reason = next(iter(str(error).strip().splitlines()), "")
        if isinstance(error, TraceContextError):
            raise InferenceError(
                f"{name} changes what it closes over ({reason.partition(' (http')[0]}); pass what "
                "a model holds beside its params as an argument: infer_spec(fn, params, rest, ...)"
            ) from error
        raise InferenceError(
            f"{name} cannot be traced with params and {len(args)} further arguments: "
            f"{type(error).__name__}: {reason}"
        ) from error


def on_arrays(
    fn: Callable[..., Any], args: tuple
) -> tuple[Callable[[Any, Sequence[Array]], Any], list[Array]]:
    """A function of params and of the arrays in some arguments, and these arrays."""
    leaves, structure = jax.tree.flatten(args)
    places = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]

    def of_arrays(params: Any, arrays: Sequence[Array]) -> Any:
        given = dict(zip(places, arrays, strict=True))
        all_args = jax.tree.unflatten(structure, [given.get(i, x) for i, x in enumerate(leaves)])
        return fn(params, *all_args)

    return of_arrays, [leaves[i] for i in places]

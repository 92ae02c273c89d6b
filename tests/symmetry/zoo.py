"""What every model of the zoo has to pass."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from lopt.symmetry import Axes, FixedUnitsWarning, PermutationSpec, check_spec, infer_spec
from lopt.symmetry.axes import groups_of, size_of
from lopt.symmetry.paths import leaves_with_path, name_of


def verify(fn, params, *args, expect, **sizes):
    """Inference finds the spec that a person wrote down, and numbers confirm every word of it.

    Args:
      fn: as for `infer_spec`.
      params: likewise.
      *args: likewise.
      expect: a line for each tensor, with its path and its groups; capital letters are fixed.
        Where a tensor's axes are not as the convention has them, `>` is before a group that it
        writes, `<` before one that it reads along, `@` before entries of a table, `#` before a
        stack, `~` before an axis of a vector, and nothing before space.
      **sizes: the size of each true group, and of fixed ones that occur only in composite axes.
    """
    expected = written(expect, params, sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FixedUnitsWarning)
        spec = infer_spec(fn, params, *args)
    found = without_biases(spec)
    assert found == without_biases(expected), f"\n{found}\n\nshould be\n\n{expected}"
    assert infer_spec(fn, jax.eval_shape(lambda p: p, params), *args) == spec

    result = check_spec(fn, params, spec, *args)
    assert result, str(result)

    # Were a fixed group free, the function would change: nothing symmetric was missed.
    all_free = check_spec(fn, params, PermutationSpec(spec.axes, spec.sizes), *args)
    assert set(all_free.failed) == {n for n in spec.fixed if spec.sizes[n] > 1}, str(all_free)
    return spec


def without_biases(spec):
    return PermutationSpec(spec.axes, spec.sizes, spec.fixed, biases={})


def groups_alone(spec):
    """The spec of functions of which it does not matter what their tensors are."""
    axes = jax.tree.map(lambda axes: Axes(*axes), spec.axes)
    return PermutationSpec(axes, spec.sizes, spec.fixed, biases={})


def total(x):
    """A function of all elements of `x` in which they are alike."""
    return jnp.sum(jnp.tanh(x) ** 2)


def params_and_spec(text):
    """Random params, and their spec, from one line: "a[4,3] i j; b[12] i*j; i=4; j=3"."""
    tensors = re.findall(r"(\w)\[([\d,]*)\]([^;]*)", text)
    sizes = {group: int(size) for group, size in re.findall(r"(\w)=(\d+)", text)}
    random = np.random.default_rng(0)
    params = {
        name: random.standard_normal([int(n) for n in shape.split(",") if n]).astype("float32")
        for name, shape, _ in tensors
    }
    return params, written("\n".join(f"{n} {axes}" for n, _, axes in tensors), params, sizes)


def random_params(init, *args):
    """Params as `init(key, *args)` shapes them; vectors, which may be variances, are positive."""
    random = np.random.default_rng(0)

    def draw(leaf):
        if leaf.ndim < 2:
            return random.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)
        fan_in = np.prod(leaf.shape[:-1]) ** 0.5
        return (random.standard_normal(leaf.shape) / fan_in).astype(leaf.dtype)

    return jax.tree.map(draw, jax.eval_shape(init, jax.random.key(0), *args))


def written(text, params, sizes):
    """The spec that a text describes; sizes that are not given are read off the params."""
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    leaves = {name_of(path): np.shape(x) for path, x in leaves_with_path(params)}
    paths = {name.removeprefix("params/"): name for name in leaves}
    assert lines.keys() == paths.keys(), f"tensors are {sorted(paths)}"
    axes = {paths[name]: _axes(groups) for name, groups in lines.items()}
    sizes = dict(sizes)
    for name, tensor_axes in axes.items():
        for axis, size in zip(tensor_axes, leaves[name], strict=True):
            if isinstance(axis, str):
                assert sizes.setdefault(axis, size) == size, f"{name}: {axis} is not {size}"
    for name, tensor_axes in axes.items():
        assert tuple(size_of(axis, sizes) for axis in tensor_axes) == leaves[name], name
    used = {n for tensor_axes in axes.values() for axis in tensor_axes for n in groups_of(axis)}
    assert used == set(sizes), f"sizes of groups that do not occur: {set(sizes) - used}"
    tree = jax.tree.unflatten(jax.tree.structure(params), [axes[name] for name in leaves])
    return PermutationSpec(tree, sizes, [name for name in sizes if name[0].isupper()])


ROLES = {">": "output", "<": "input", "@": "entry", "#": "stack", "~": "vector"}


def _axes(words):
    groups = [word.lstrip("".join(ROLES)) for word in words]
    if groups == words:
        return Axes(*groups)
    return Axes(*groups, roles=[ROLES.get(word[0], "spatial") for word in words])

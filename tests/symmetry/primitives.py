"""The primitives of the installed JAX, and functions that use them."""

import importlib
import pkgutil
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax._src.lax.windowed_reductions import _select_and_scatter
from jax.custom_derivatives import linear_call
from jax.experimental.custom_partitioning import custom_partitioning
from jax.extend import core
from jax.sharding import AxisType, PartitionSpec

MODULES = """
jax.lax jax.lax.linalg jax.extend.core.primitives jax._src.ad_checkpoint jax._src.ad_util
jax._src.callback jax._src.checkify jax._src.core jax._src.custom_batching
jax._src.custom_derivatives jax._src.custom_partitioning jax._src.debugging jax._src.dispatch
jax._src.ffi jax._src.pjit jax._src.shard_map
"""

PACKAGES = ("jax._src.interpreters", "jax._src.lax", "jax._src.random", "jax._src.state")


def _defined() -> dict[str, core.Primitive]:
    names = MODULES.split()
    for package in map(importlib.import_module, PACKAGES):
        found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        names += [module.name for module in found]
    modules = map(importlib.import_module, names)
    values = (value for module in modules for value in vars(module).values())
    return {value.name: value for value in values if isinstance(value, core.Primitive)}


PRIMITIVES = _defined()


def primitives_in(jaxpr: core.Jaxpr) -> Iterator[str]:
    """The names of the primitives in a jaxpr and in those that its equations call."""
    for eqn in jaxpr.eqns:
        yield eqn.primitive.name
        for inner in core.jaxprs_in_params(eqn.params):
            yield from primitives_in(inner)


def total(x):
    """A function of all elements of `x` in which they are alike."""
    x = x.astype(float)
    return jnp.sum(jnp.tanh(x) ** 2 + x / 9)


def bind(primitive, *operands, **params):
    return PRIMITIVES[primitive].bind(*operands, **params)


def whole(x):
    return (x * 100).astype(jnp.int32)


UNARY = """
abs acos asin asinh atan atanh bessel_i0e bessel_i1e cbrt ceil cos cosh digamma erf erf_inv erfc
exp exp2 expm1 floor is_finite lgamma log log1p logistic neg round rsqrt sign sin sinh sqrt square
stop_gradient tan tanh
"""

BINARY = """
add atan2 complex div eq ge gt igamma igamma_grad_a igammac le lt max min mul ne nextafter pow rem
sub zeta
"""

WHOLE = "bitwise_and bitwise_or bitwise_xor mulhi shift_left shift_right_arithmetic"


def unary(p):
    """Each function of one number, between 0.3 and 0.9."""
    x = 0.6 + 0.3 * jnp.tanh(p["a"])
    results = [getattr(lax, name)(x) for name in UNARY.split()]
    results += [lax.acosh(1 + x), lax.integer_pow(x, 3), lax.reduce_precision(x, 8, 7)]
    results += [lax.clz(whole(x)), lax.population_count(whole(x)), lax.bitwise_not(whole(x))]
    results += [bind("copy", x), bind("name", x, name="x")]
    results += [bind("accum_grad_in_ref", x)]
    results += [lax.real(lax.conj(x + 1j * x)), lax.imag(x + 1j * x), x.astype(jnp.float32)]
    results += [*lax.optimization_barrier((x, 2 * x)), jax.device_put(x), x.astype(bool)]
    return sum(i * total(y) for i, y in enumerate(results, 1))


def binary(p):
    """Each function of two numbers."""
    x, y = (0.6 + 0.3 * jnp.tanh(p[name]) for name in "ab")
    results = [jnp.abs(getattr(lax, name)(x, y)) for name in BINARY.split() if name != "zeta"]
    results += [lax.zeta(1 + x, y), lax.polygamma(whole(x).astype(x.dtype), y)]
    results += [getattr(lax, name)(whole(x), whole(y) % 7) for name in WHOLE.split()]
    results += [lax.shift_right_logical(whole(x), whole(y) % 7), bind("add_any", x, y)]
    results += [lax.betainc(x, y, x)]
    results += [bind(name, x, y) for name in ("eq_to", "le_to", "lt_to")]
    return sum(i * total(z) for i, z in enumerate(results, 1))


def ragged(left, right, sizes, numbers=None):
    numbers = numbers and lax.RaggedDotDimensionNumbers(*numbers)
    sizes = jnp.asarray(sizes)
    if numbers is None:
        return lax.ragged_dot(left, right, sizes)
    return lax.ragged_dot_general(left, right, sizes, numbers)


def convolution(image, kernel, groups=1, batches=1):
    return lax.conv_general_dilated(
        image, kernel, (1,), "SAME", feature_group_count=groups, batch_group_count=batches
    )


def references(p):
    r = jax.new_ref(jnp.zeros((4, 3)))
    r[...] = p["a"]
    r[:, :] *= 2
    jax.ref.addupdate(r, ..., p["b"])
    result = r[...]
    jax.ref.free_ref(r)
    empty = jax.ref.empty_ref(jax.typeof(p["a"]))
    empty[...] = 2 * p["a"]
    return total(result + jax.freeze(empty))


HELD = jax.new_ref(np.zeros((4, 3), "float32"))


def held_reference(p):
    """One that was made elsewhere may hold anything before it is written."""
    HELD[...] = jnp.zeros((4, 3))
    HELD[...] += p["a"]
    return total(HELD[...])


MESH = jax.make_mesh((1,), ("d",), axis_types=(AxisType.Auto,))


def product(x, y):
    return x * y


def called(p):
    """Each way to call a function."""
    x, y = p["a"], p["b"]
    vjp = jax.custom_vjp(product)
    vjp.defvjp(lambda x, y: (x * y, None), lambda _, g: (g, g))
    remat = jax.custom_vjp(product)
    remat.defvjp(lambda x, y: (x * y, None), lambda _, g: (g, g), optimize_remat=True)
    vmap = jax.custom_batching.custom_vmap(product)
    vmap.def_vmap(lambda size, batched, x, y: (x * y, True))
    partitioned = custom_partitioning(product)
    partitioned.def_partition(None, None, sharding_rule="i j, i j -> i j")
    results = [
        jax.jit(product)(x, y),
        jax.checkpoint(product)(x, y),
        jax.nn.relu(x) * y,
        vjp(x, y),
        jax.vjp(remat, x, y)[0],
        vmap(x, y),
        partitioned(x, y),
        lax.composite(product, "my.product")(x, y),
        linear_call(product, product, x, y),
        *bind("eval_jaxpr", x, y, jaxpr=jax.make_jaxpr(product)(x, y)),
        lax.platform_dependent(x, y, default=product),
        lax.cond(x.sum() > 0, product, jnp.add, x, y),
        lax.while_loop(lambda c: c.sum() < 9, lambda c: c + x**2 + 1, y),
        lax.scan(lambda c, _: (c * x, c), y, None, 3)[0],
    ]
    return sum(i * total(z) for i, z in enumerate(results, 1))


def solved(p):
    """`a` is a batch of systems, whose right-hand sides are `b`, solved as a function says."""

    def solve(_, b):
        return b / (1 + p["a"] ** 2), p["a"] * b

    x, more = lax.custom_linear_solve(
        lambda x: p["a"] * x, p["b"], solve, symmetric=True, has_aux=True
    )
    return total(x) + 2 * total(more)


def random_numbers(p):
    """Random numbers of every kind beside a parameter; some depend on another one."""
    key = jax.random.wrap_key_data(jnp.array([0, 1], "uint32"))
    keys = jax.random.split(jax.random.fold_in(jax.random.clone(key), 3), 4)
    data = jax.random.key_data(keys).astype(float)[:, 0] / 2.0**32
    bits = [lax.rng_bit_generator(jnp.arange(4, dtype="uint32"), (4,))[1]]
    x = jnp.arange(4, dtype="uint32")
    for kind, count in (("threefry2x32", 4), ("threefry4x32", 8), ("philox2x32", 3)):
        bits += bind(kind, *[x] * count)
    bits += [*bind("philox4x32", *[x] * 6), *bind("iota_2x32_shape", shape=(4,))]
    results = [jax.random.gamma(key, 1 + p["b"] ** 2), data]
    results += [jax.random.uniform(jax.random.key(3), (4,))]
    results += [x.astype(float) / 2.0**32 for x in bits]
    return sum(i * total(x * p["a"]) for i, x in enumerate(results, 1))


def watched(p):
    """What is printed or kept alive fixes nothing."""
    jax.debug.print("{}", p["b"].sum())
    jax.debug.callback(lambda x: None, p["b"])
    jax.debug.inspect_array_sharding(p["b"], callback=lambda x: None)
    lax.dce_sink(p["b"])
    return total(p["a"])


def rearranged(p):
    """What hands elements on: each axis stays as it is."""
    x = p["a"]
    results = [
        lax.transpose(x, (1, 0)).T,
        lax.squeeze(lax.broadcast_in_dim(x, (4, 1, 3), (0, 2)), (1,)),
        lax.reshape(lax.reshape(x, (12,)), (4, 3)),
        lax.pad(x, 0.0, ((0, 0, 0), (0, 0, 0))),
        lax.select(x > 0, x, 2 * x),
        lax.clamp(-1.0, x, 1.0),
        lax.concatenate([x, x], 0)[4:],
        lax.empty((4, 3), float) + x,
        lax.tile(x, (1, 1)),
        bind("tie", jnp.zeros(7), x),
        lax.with_sharding_constraint(x, jax.sharding.NamedSharding(MESH, PartitionSpec())),
    ]
    return sum(i * total(y) for i, y in enumerate(results, 1))


def reduced(p):
    """Each reduction whose order does not matter."""
    x = p["a"]
    results = [f(x, 1) for f in (jnp.sum, jnp.max, jnp.min, jnp.prod)]
    results += [f.reduce(whole(x), 1) for f in (jnp.bitwise_and, jnp.bitwise_or, jnp.bitwise_xor)]
    return sum(i * total(y) for i, y in enumerate(results, 1))


def written_at_positions(p):
    r = jax.new_ref(p["a"])
    r[0] = 2 * r[1]
    return total(r[...])


def written(p):
    """Entries written and added at positions."""
    at = np.array([0, 2])
    results = [getattr(p["a"].at[at], f)(p["b"]) for f in ("set", "add", "mul", "min", "max")]
    results += [lax.dynamic_update_slice(p["a"], p["c"], (1, 0)), p["a"].at[at].subtract(p["b"])]
    return sum(i * total(x) for i, x in enumerate(results, 1))


def gradients_of_windows(p):
    """The first and second derivative of a maximum, and a gradient by functions of one's own."""
    window = (1, 2), (1, 2), ((0, 0), (0, 0))

    def pooled(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, *window)

    gradient = jax.grad(lambda x: total(pooled(x)))(p["a"])
    tangent = jax.jvp(pooled, (p["a"],), (jnp.sin(p["a"]),))[1]
    own = _select_and_scatter(
        p["a"], lambda x, y: x >= 2 * y, *window, pooled(p["a"]), 0.0, lambda x, y: x + 2 * y
    )
    return total(gradient) + 2 * total(tangent) + 3 * total(own)

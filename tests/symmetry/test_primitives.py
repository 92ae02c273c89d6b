"""Each primitive of the installed JAX has a handler or a refusal; its spec holds on numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import primitives as p_
import pytest
from jax import lax
from jax._src.lax import linalg as _linalg
from jax.experimental import io_callback
from jax.lax import linalg
from jax.sharding import PartitionSpec
from primitives import PRIMITIVES, bind, convolution, primitives_in, ragged, total, whole
from zoo import groups_alone, params_and_spec

from lopt.symmetry import UnknownPrimitiveWarning, check_spec, infer_spec
from lopt.symmetry.primitives import HANDLERS

HANDLED = set(HANDLERS)
"""Before any test registers one of its own."""

IMAGE = np.sin(np.arange(2 * 4 * 5, dtype="float32")).reshape(2, 4, 5)


def gram(a):
    """Symmetric matrices that are positive definite."""
    return a @ jnp.swapaxes(a, -1, -2) + 9 * jnp.eye(a.shape[-2])


def factors(results, first=0):
    return sum(total(jnp.abs(x) * (i + first)) for i, x in enumerate(results, 1))


ROWS = {
    # What acts on elements, hands them on, calls, or does not depend on their order.
    "unary": (p_.unary, "a[4,3] i j"),
    "binary": (p_.binary, "a[4,3] i j; b[4,3] i j"),
    "called": (p_.called, "a[4,3] i j; b[4,3] i j"),
    "solved": (p_.solved, "a[4,3] i j; b[4,3] i j"),
    "watched": (p_.watched, "a[4,3] i j; b[4,3] U V"),
    "rearranged": (p_.rearranged, "a[4,3] i j"),
    "reduced": (p_.reduced, "a[4,3] i j"),
    "references": (p_.references, "a[4,3] i j; b[4,3] i j"),
    "reference from elsewhere": (p_.held_reference, "a[4,3] I J"),
    "reference at positions": (p_.written_at_positions, "a[4,3] I J"),
    "random": (p_.random_numbers, "a[4] I; b[4] J"),
    # Bits: the axis that a bitcast adds or drops has an order.
    "bits": (
        lambda p: total(lax.bitcast_convert_type(p["a"].astype("float32"), jnp.uint8)),
        "a[4,3] i j",
    ),
    "bits put together": (
        lambda p: total(lax.bitcast_convert_type(whole(p["a"]).astype("uint8"), jnp.uint32) % 99),
        "a[5,4] i J",
    ),
    # Products.
    "dot": (lambda p: total(lax.dot(p["a"], p["b"])), "a[4,3] i j; b[3,5] j k"),
    "scaled dot": (
        lambda p: total(lax.scaled_dot(p["a"], p["b"])),
        "a[4,6] i j; b[6,5] j k",
    ),
    "dot of scaled blocks": (
        lambda p: total(lax.scaled_dot(p["a"], p["b"], lhs_scale=p["c"], rhs_scale=p["d"])),
        "a[4,12] i b*w*v; b[12,5] b*w*v k; c[4,3] i b; d[6,5] b*w k; b=3; w=2; v=2",
    ),
    "ragged rows": (
        lambda p: total(ragged(p["a"], p["b"], [1, 3])),
        "a[4,3] I j; b[2,3,5] E j k",
    ),
    "ragged rows alike": (
        lambda p: total(ragged(jnp.ones((4, 3)) * p["c"], p["b"], [1, 3]) * p["d"]),
        "b[2,3,5] E j k; c[3] j; d[4,5] I k",
    ),
    "ragged rows in a batch": (
        lambda p: total(
            jax.vmap(ragged)(p["a"], p["b"], np.array([[1, 3], [2, 2], [3, 1]])) * p["c"]
        ),
        "a[3,4,2] B I j; b[3,2,2,5] B E j k; c[3,4,5] B I k",
    ),
    "ragged sum": (
        lambda p: total(
            ragged(p["a"], p["b"], [1, 3], ((((0,), (0,)), ((), ())), (0,), ())) * p["c"]
        ),
        "a[4,3] I j; b[4,5] I k; c[2,3,5] E j k",
    ),
    "ragged batch": (
        lambda p: total(
            ragged(p["a"], p["b"], [1, 2], ((((2,), (1,)), ((0,), (0,))), (0,), ())) * p["c"]
        ),
        "a[4,2,3] B i j; b[4,3,5] B j k; c[4,2,5] B i k",
    ),
    "convolution": (
        lambda p: total(convolution(IMAGE, p["a"])),
        "a[6,4,3] >o <C W",
    ),
    "grouped convolution": (
        lambda p: total(convolution(convolution(IMAGE, p["a"]), p["b"], groups=2)),
        "a[4,4,3] >g*i <C W; b[6,2,3] >g*o <i X; g=2; i=2; o=3",
    ),
    "the same kernel for each group": (
        lambda p: total(
            convolution(convolution(IMAGE, p["a"]), jnp.ones((4, 1, 3)), groups=4) * p["b"][:, None]
        ),
        "a[4,4,3] >g <C W; b[4] g",
    ),
    "convolution in groups of a batch": (
        lambda p: total(convolution(IMAGE, jnp.ones((4, 4, 3)) * p["a"], batches=2) * p["b"]),
        "a[1] U; b[4,5] O X",
    ),
    # Windows.
    "windows": (
        lambda p: total(
            lax.reduce_window(p["a"], 0.0, lax.add, (1, 2), (1, 1), "SAME")
            + lax.reduce_window(p["a"], -jnp.inf, lax.max, (1, 2), (1, 1), "SAME")
            - lax.reduce_window(p["a"], jnp.inf, lax.min, (1, 2), (1, 1), "SAME")
            + lax.reduce_window(p["a"], 0.0, lambda x, y: x + 2 * y, (1, 2), (1, 1), "SAME")
        ),
        "a[4,3] i J",
    ),
    "windows of one entry that move": (
        lambda p: total(
            lax.reduce_window(p["a"], 0.0, lax.add, (1, 1), (2, 1), ((1, 1), (0, 0))) * p["b"]
        ),
        "a[3,4] I j; b[3,4] J j",
    ),
    "gradients of windows": (p_.gradients_of_windows, "a[4,6] i J"),
    # Orders.
    "cumulated": (
        lambda p: sum(
            i * total(f(p["a"], 1))
            for i, f in enumerate(
                (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin, lax.cumlogsumexp), 1
            )
        ),
        "a[4,3] i J",
    ),
    "cumulated ones": (
        lambda p: total(jnp.cumsum(jnp.ones(3) * p["a"]) * p["b"]),
        "a[1] U; b[3] I",
    ),
    "sorted": (lambda p: total(lax.sort(p["a"]) * jnp.arange(3.0)), "a[4,3] i j"),
    "reversed": (lambda p: total(lax.rev(p["a"], (1,)) * p["b"]), "a[4,3] i J; b[4,3] i J"),
    "extreme": (
        lambda p: total(lax.argmax(p["a"], 1, int) + 2 * lax.argmin(p["a"], 1, int)),
        "a[4,3] i J",
    ),
    "first ones": (
        lambda p: factors([*lax.top_k(p["a"], 2), *lax.approx_max_k(p["a"], 2)]),
        "a[4,3] i J",
    ),
    "reduced by a function": (
        lambda p: total(lax.reduce(p["a"], 0.0, lambda x, y: x + 2 * y, (1,))),
        "a[4,3] i J",
    ),
    "transformed": (lambda p: total(jnp.abs(jnp.fft.fft(p["a"])[:, 1])), "a[4,3] i J"),
    # Parts.
    "cut": (
        lambda p: factors([lax.slice(p["a"], (0, 0), (2, 3)), *lax.split(p["a"][2:], (1, 1))]),
        "a[4,3] i+I j; i=2; I=2",
    ),
    "stacked": (
        lambda p: factors([*bind("unstack", p["a"], axis=0), lax.stack([p["b"], p["c"]])]),
        "a[4,3] I j; b[3] k; c[3] k",
    ),
    "padded away": (
        lambda p: total(lax.pad(p["a"], 1.0, ((-5, 6, 0),)) * p["b"]),
        "a[4] i; b[5] j",
    ),
    # Positions.
    "counted": (lambda p: total(p["a"] * lax.iota(float, 4)), "a[4] I"),
    "looked up": (
        lambda p: total(p["a"][np.array([0, 2])] + lax.dynamic_slice(p["b"], (1, 0), (2, 3))),
        "a[4,3] I j; b[4,3] J j",
    ),
    "written": (p_.written, "a[4,3] I j; b[2,3] J j; c[2,3] K j"),
    # Linear algebra: matrices have an order, a batch of them has none.
    "factorizations": (
        lambda p: factors(
            [
                linalg.cholesky(gram(p["a"])),
                *linalg.eigh(gram(p["a"])),
                *linalg.svd(p["a"]),
                *linalg.qr(p["a"]),
                *linalg.lu(p["a"])[:2],
                linalg.lu_pivots_to_permutation(linalg.lu(p["a"])[1], 4),
                *linalg.tridiagonal(gram(p["a"])),
            ]
        ),
        "a[2,4,3] b I J",
    ),
    "factorizations of the CPU": (
        lambda p: factors(
            [*linalg.eig(p["a"])[:1], *linalg.schur(p["a"])[:1], *linalg.hessenberg(p["a"])]
        ),
        "a[2,3,3] b I J",
    ),
    "reflections": (
        lambda p: total(linalg.householder_product(p["a"], p["b"])),
        "a[2,4,3] b I J; b[2,3] b K",
    ),
    "products with reflections": (
        lambda p: total(linalg.ormqr(*_linalg.geqrf(p["a"]), p["b"])),
        "a[2,4,3] b I J; b[2,4,5] b K L",
    ),
    "pivots": (
        lambda p: factors(_linalg.geqp3(p["a"], jnp.zeros((2, 3), "int32"))),
        "a[2,4,3] b I J",
    ),
    "triangular": (
        lambda p: total(linalg.triangular_solve(p["a"] + 9 * jnp.eye(3), p["b"], left_side=True)),
        "a[2,3,3] b I I; b[2,3,4] b K L",
    ),
    "tridiagonal": (
        lambda p: total(linalg.tridiagonal_solve(p["a"], 9 + p["a"], p["a"], p["b"])),
        "a[2,3] b I; b[2,3,4] b J K",
    ),
    "updates": (
        lambda p: factors(
            [
                linalg.symmetric_product(p["a"], gram(p["a"])),
                linalg.cholesky_update(jnp.eye(3) + jnp.triu(p["b"][0] ** 2), p["b"][0, 0]),
            ]
        ),
        "a[4,3] I J; b[1,3,3] O K K",
    ),
}

REFUSED = {
    "pure_callback": (
        lambda p: total(jax.pure_callback(lambda x: x[::-1] * x, p["a"], p["a"])),
        "a[4,3] I J",
    ),
    "io_callback": (
        lambda p: total(io_callback(lambda x: x[::-1] * x, p["a"], p["a"])),
        "a[4,3] I J",
    ),
    "shard_map": (
        lambda p: total(
            jax.shard_map(
                lambda x: lax.psum(x[::-1] * x, "d"),
                mesh=p_.MESH,
                in_specs=PartitionSpec("d"),
                out_specs=PartitionSpec(),
            )(p["a"])
        ),
        "a[4,3] I J",
    ),
}

WITHIN_SHARD_MAP = """
all_gather all_gather_done all_gather_invariant all_gather_reduced all_gather_reduced_start
all_gather_start all_to_all all_to_all_done all_to_all_start axis_index pbroadcast pbroadcast_done
pbroadcast_start pmax pmin ppermute ppermute_done ppermute_start precv preduced psend psum psum_done
psum_invariant psum_invariant_start psum_start pvary ragged_all_to_all reduce_scatter
reduce_scatter_done reduce_scatter_start reduced_vary_cast_p unreduced_psum unreduced_psum_start
unreduced_reduce_scatter unreduced_reduce_scatter_start vary_unreduced_cast_p reshard
"""

ELSEWHERE = {
    "a function that JAX only calls while it transforms another": """
        call call_hi_primitive custom_jvp_call_jaxpr custom_lin eval_jaxpr stage unreachable
        zeros_like
    """,
    "no array among its operands": "after_all create_token empty2",
    "other numbers at each call": "rng_uniform",
    "types of keys and of numbers that are no arrays of floats": "from_edtype to_edtype",
    "it needs a mesh, a compiled target or another pass over the function": """
        check ffi_call layout_constraint
    """,
    "made by Pallas and its loops": """
        broadcast_to create_linear pin run_state unpin
    """,
    "within shard_map, which is refused": WITHIN_SHARD_MAP,
}


def traced(fn, text):
    return set(primitives_in(jax.make_jaxpr(fn)(params_and_spec(text)[0]).jaxpr))


@pytest.mark.parametrize("name", ROWS)
def test_handler(name, recwarn):
    fn, text = ROWS[name]
    params, expected = params_and_spec(text)
    spec = infer_spec(fn, params)
    found = groups_alone(spec)
    assert found == groups_alone(expected), f"\n{found}\n\nshould be\n\n{expected}"
    assert check_spec(fn, params, spec)
    assert not [w for w in recwarn if w.category is UnknownPrimitiveWarning]


DEPENDING_ON_POSITIONS = [
    "ragged rows in a batch",
    "ragged sum",
    "ragged batch",
    "grouped convolution",
    "windows of one entry that move",
]


@pytest.mark.parametrize("name", DEPENDING_ON_POSITIONS)
def test_results_vary_though_an_operand_does_not(name):
    fn, text = ROWS[name]
    params, _ = params_and_spec(text)
    for tensor, x in params.items():
        for axis in range(x.ndim):

            def uniform(p, tensor=tensor, shape=x.shape):
                return fn(p | {tensor: jnp.broadcast_to(p[tensor], shape)})

            one = params | {tensor: x.take([0], axis)}
            spec = infer_spec(uniform, one)
            result = check_spec(uniform, one, spec)
            assert not result.failed, f"{tensor}.{axis}"
            assert result.together <= result.tolerance, f"{tensor}.{axis}"


@pytest.mark.parametrize("name", REFUSED)
def test_refusal(name):
    fn, text = REFUSED[name]
    params, expected = params_and_spec(text)
    with pytest.warns(UnknownPrimitiveWarning, match=name):
        assert groups_alone(infer_spec(fn, params)) == groups_alone(expected)


def test_every_primitive_of_jax_has_a_row_or_a_reason():
    apart = {name for names in ELSEWHERE.values() for name in names.split()}
    in_rows = set().union(*(traced(*row) for row in ROWS.values()))
    refused = set().union(*(traced(*row) for row in REFUSED.values())) - in_rows
    assert set(PRIMITIVES) - in_rows - refused - apart == set()
    assert apart - set(PRIMITIVES) == set(), "these are gone"
    assert apart & in_rows == set(), "these have rows"
    assert in_rows - HANDLED == set(), "these have rows, but no handler"
    assert HANDLED - set(PRIMITIVES) == set(), "these handlers are of no primitive"

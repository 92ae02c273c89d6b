"""Families of primitives whose members act alike, by their names in a jaxpr."""


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


CALLS = {
    "call": "call_jaxpr",
    "closed_call": "call_jaxpr",
    "composite": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_partitioning": "call",
    "custom_vjp_call": "call_jaxpr",
    "custom_vmap_call": "call",
    "eval_jaxpr": "jaxpr",
    "jit": "jaxpr",
    "linear_call": "callee",
    "remat2": "jaxpr",
    "remat_opt": "fwd_jaxpr",
}
"""They call a function, which is in this parameter."""

WATCHING = words("dce_sink debug_callback debug_print inspect_sharding")
"""They read values of which nothing comes."""

IDENTITY = words(
    """
    accum_grad_in_ref convert_element_type copy device_put layout_constraint name
    optimization_barrier pvary reduce_precision reshard sharding_constraint stop_gradient
    """
)
"""They hand on each operand as it is."""

ELEMENTWISE = words(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e cbrt ceil
    clamp clz complex conj cos cosh digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor
    ge gt igamma igamma_grad_a igammac imag integer_pow is_finite le le_to lgamma log log1p
    logistic lt lt_to max min mul mulhi ne neg nextafter not or polygamma population_count pow
    real regularized_incomplete_beta rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stage sub tan tanh xor zeta
    """
)
"""They act on the elements at each place by themselves."""

REDUCTIONS = words("reduce_sum reduce_prod reduce_max reduce_min reduce_and reduce_or reduce_xor")
"""They reduce axes by an operation that is commutative."""

RANDOM = words(
    """
    random_seed random_wrap random_unwrap random_split random_fold_in random_bits random_clone
    random_gamma threefry2x32 threefry4x32 philox2x32 philox4x32 iota_2x32_shape
    rng_bit_generator rng_uniform
    """
)
"""They make random numbers, or keys of them."""

FACTORIZATIONS = words("cholesky eig eigh geqrf hessenberg lu qr schur svd tridiagonal")
"""They factorize matrices, each operand one or a batch of them."""

TRANSPARENT = words(
    "broadcast_in_dim convert_element_type copy reshape slice split squeeze transpose unstack"
)
"""They hand a value on, in parts or in whole: an axis that nothing else reads is not read."""

"""The rule of the paper against results of its authors' code, which tests/authors.py describes."""

import authors
import jax
import numpy as np
import pytest
from authors import BETA, CASES, COUNTS, FILE, GROUPS, RATE, SIZES, Pointwise
from optimized import NORMAL

from lopt.base.parts import build
from lopt.rules import RULES
from lopt.symmetry import Axes, PermutationSpec, block_groups
from lopt.unf.plan import plan_for


def spec_of(groups, sizes):
    axes = jax.tree.map(lambda a: Axes(*map(str, a)), groups, is_leaf=authors.is_axes)
    return PermutationSpec(axes, {str(g): n for g, n in sizes.items()})


def theta_of(space, network, spec):
    """The coefficients of tests/authors.py where our layers have them."""
    counts, theta = {"PointwiseLayer": 0, "ExactLayer": 0}, {}
    for layer in authors.theta_of(space, network):
        pointwise = isinstance(layer, Pointwise)
        kind = "PointwiseLayer" if pointwise else "ExactLayer"
        theta[f"{kind}_{counts[kind]}"] = (
            {"kernel": layer.kernel, "bias": layer.bias[None]} if pointwise else exact(layer, spec)
        )
        counts[kind] += 1
    return {"params": theta}


def exact(layer, spec):
    """An exact layer's matmuls: each of their blocks is the coefficient of one set partition."""
    plan = plan_for(spec)
    names = list(block_groups(spec))
    module = {"bias": np.stack([layer.bias[names.index(n)] for b in plan.bundles for n in b.names])}
    for k, matmul in enumerate(plan.matmuls):
        rows = [
            np.concatenate([layer.kernel[term] for term in row], 1)
            for row in terms_of(plan, matmul, names)
        ]
        module[f"kernel_{k}"] = np.concatenate(rows)
    return module


def terms_of(plan, matmul, names):
    """For each input of a matmul the (output, input, partition) of each of its outputs."""
    for source, of in matmul.inputs:
        for u in tensors_of(plan, source):
            row = []
            for target, to in matmul.outputs:
                for v in tensors_of(plan, target):
                    kept_in, averaged_in = axes_of(plan, source, u)
                    kept_out, averaged_out = axes_of(plan, target, v)
                    shift = len(plan.bundles[plan.reductions[target].bundle].groups)
                    shared = [
                        (*kept_out[a], *(x + shift for x in kept_in[of[s]]))
                        for a, s in enumerate(to)
                    ]
                    alone = [tuple(x + shift for x in block) for block in averaged_in]
                    partition = authors.canonical([*shared, *averaged_out, *alone])
                    row.append((names.index(v), names.index(u), partition))
            yield row


def tensors_of(plan, reduction):
    return plan.bundles[plan.reductions[reduction].bundle].names


def axes_of(plan, reduction, name):
    """The kept and the averaged blocks of a reduction, in the tensor's own axes."""
    r = plan.reductions[reduction]
    bundle = plan.bundles[r.bundle]
    order = bundle.transposes[bundle.names.index(name)]
    return ([tuple(order[a] for a in block) for block in blocks] for blocks in (r.kept, r.averaged))


def our_steps(space, network):
    """The params after each step of ours."""
    spec = spec_of(GROUPS[space], SIZES[space])
    rule = build(RULES, f"univ_nfn(network={network}, beta={BETA})")
    optimizer = rule.scale_by_rule(theta_of(space, network, spec), spec)
    update = jax.jit(optimizer.update, compiler_options=NORMAL)
    params = authors.tensors(space, 0)
    state, found = optimizer.init(params), []
    for i, count in enumerate(COUNTS):
        directions, state = update(
            authors.tensors(space, i + 1), state._replace(count=np.int32(count)), params
        )
        params = jax.tree.map(lambda p, d: p - RATE * d, params, directions)
        found.append(params)
    return found


@pytest.mark.parametrize(("space", "network"), CASES)
def test_the_same_theta_weights_and_gradients_give_the_step_of_the_authors_code(space, network):
    """Their results are stored; tests/interop runs their code where a checkout is at hand."""
    ours = authors.flat(space, network, our_steps(space, network))
    with np.load(FILE) as theirs:
        stored = [name for name in theirs.files if name.startswith(f"{space}/{network}/")]
        assert sorted(stored) == sorted(ours)
        for name in stored:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-5, err_msg=name)


def attention_block(i):
    """The groups of one block of their Transformer, as `make_hk_transformer_perm_spec` has them."""
    stream, hidden, after = 2 * i, 2 * i + 1, 2 * i + 2
    name, into = f"transformer/h{i}", {"b": (hidden,), "w": (stream, hidden)}
    norms = {f"{name}_ln_{k}": {"offset": (stream,), "scale": (stream,)} for k in (1, 2)}
    return norms | {
        **{f"{name}_attn/{part}": into for part in ("key", "query", "value")},
        f"{name}_attn/linear": {"b": (stream,), "w": (hidden, stream)},
        f"{name}_mlp/linear": into,
        f"{name}_mlp/linear_1": {"b": (after,), "w": (hidden, after)},
    }


TRANSFORMER = {
    "transformer/embed": {"embeddings": (-1, 0)},
    **attention_block(0),
    **attention_block(1),
    "transformer/h_f": {"offset": (4,), "scale": (4,)},
    "transformer/linear": {"b": (-2,), "w": (4, -2)},
}

MLP = {name: GROUPS["mlp"][name] for name in ("mlp/~/linear_0", "mlp/~/linear_1")}

CNN = {
    "conv2_d": {"b": (1,), "w": (0, -3, 0, 1)},
    "conv2_d_1": {"b": (2,), "w": (-1, -4, 1, 2)},
    "linear": {"b": (3,), "w": (2, 3)},
}


@pytest.mark.parametrize(
    ("groups", "published"),
    [(MLP, 3783), (CNN, 7369), (GROUPS["irnn"], 8043), (TRANSFORMER, 64168)],
    ids=["mlp", "cnn", "rnn", "transformer"],
)
def test_with_the_authors_specs_theta_has_the_size_that_the_paper_says(groups, published):
    """Its table 3, which counts the scalars alpha, beta and gamma_0 as well. The MLP has one
    hidden layer; the CNN's first kernel has its input's group on its height, as in their code."""
    names = {a for axes in jax.tree.leaves(groups, is_leaf=authors.is_axes) for a in axes}
    spec = spec_of(groups, dict.fromkeys(names, 2))
    for network, parameters in {"deep_sets": 2788, "hybrid": published}.items():
        rule = build(RULES, f"univ_nfn(network={network})")
        theta = jax.eval_shape(lambda key, rule=rule: rule.init(key, spec), jax.random.key(0))
        assert sum(x.size for x in jax.tree.leaves(theta)) + 3 == parameters

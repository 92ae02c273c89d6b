"""Muon with two rates and NorMuon, by the parts that they are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.base.errors import UserError
from lopt.compare import muon, muon_two_rates, normuon
from lopt.symmetry import Axes, PermutationSpec

SPEC = PermutationSpec(
    {"hidden": Axes("h", "k"), "output": Axes("k", "classes"), "bias": Axes("k")},
    {"h": 4, "k": 6, "classes": 3},
    fixed=["classes"],
)
SHAPES = {"hidden": (4, 6), "output": (6, 3), "bias": (6,)}


def drawn(seed):
    rng = np.random.default_rng(seed)
    return {k: jnp.asarray(rng.normal(size=s), jnp.float32) for k, s in SHAPES.items()}


def steps(optimizer, number=3):
    """The updates of so many steps, the last one first."""
    params, update = drawn(100), jax.jit(optimizer.update)
    state, found = optimizer.init(params), []
    for seed in range(number):
        updates, state = update(drawn(seed), state, params)
        found.append(updates)
    return found[::-1]


def newton_schulz(x):
    x = x / np.linalg.norm(x)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


def test_two_rates_are_muon_and_adamw():
    found = steps(muon_two_rates(0.1, SPEC, 0.2, adam_ratio=0.5))[0]
    hidden = steps(muon(0.1, SPEC, 0.2))[0]["hidden"]
    adam = steps(optax.adamw(0.05, b2=0.95, eps=1e-10, weight_decay=0.2))[0]
    np.testing.assert_allclose(found["hidden"], hidden, rtol=1e-4, atol=1e-6)
    for name in ("output", "bias"):
        np.testing.assert_allclose(found[name], adam[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("make", [muon_two_rates, normuon])
def test_both_rates_follow_the_schedule(make):
    found = steps(make(optax.linear_schedule(0.1, 0.0, 2), SPEC), number=3)
    for updates in found[:1]:
        assert not any(np.any(x) for x in updates.values())
    assert all(np.any(x) for updates in found[1:] for x in updates.values())


def test_normuon_moves_as_in_the_authors_code():
    """The averages begin at zero; no correction is needed, since the norm of the matrix is kept."""
    b1, b2 = 0.95, 0.9
    found = steps(normuon(1.0, SPEC, momentum=b1, b2=b2))[::-1]
    momentum, square = np.zeros((4, 6)), np.zeros((1, 6))
    for step, updates in enumerate(found, 1):
        grad = np.asarray(drawn(step - 1)["hidden"], np.float64)
        momentum = b1 * momentum + (1 - b1) * grad
        # optax corrects both parts of Nesterov's momentum for their bias; the authors neither.
        mixed = b1 * momentum / (1 - b1 ** (step + 1)) + (1 - b1) * grad / (1 - b1**step)
        direction = newton_schulz(mixed)
        square = b2 * square + (1 - b2) * np.mean(direction**2, 0, keepdims=True)
        scaled = direction / np.sqrt(square)
        scaled *= np.linalg.norm(direction) / np.linalg.norm(scaled)
        np.testing.assert_allclose(updates["hidden"], -scaled * 1.5**0.5, rtol=1e-3, atol=1e-4)


def test_without_an_average_all_neurons_of_normuon_move_as_far():
    found = steps(normuon(1.0, SPEC, b2=0.0))[0]["hidden"]
    lengths = np.linalg.norm(found, axis=0)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-4)
    plain = steps(muon_two_rates(1.0, SPEC))[0]["hidden"]
    np.testing.assert_allclose(np.linalg.norm(found), np.linalg.norm(plain), rtol=1e-4)
    assert np.ptp(np.linalg.norm(plain, axis=0)) > 0.01


def test_normuon_scales_each_matrix_of_a_stack_by_itself():
    axes = Axes("layers", "h", "k", roles=("stack", "input", "output"))
    spec = PermutationSpec({"w": axes}, {"layers": 3, "h": 4, "k": 6})
    alone = PermutationSpec({"w": Axes("h", "k")}, {"h": 4, "k": 6})
    grads = jax.random.normal(jax.random.key(0), (3, 4, 6))

    def first(spec, grads):
        optimizer = normuon(1.0, spec)
        return optimizer.update({"w": grads}, optimizer.init({"w": grads}), {"w": grads})[0]["w"]

    for i, found in enumerate(first(spec, grads)):
        np.testing.assert_allclose(found, first(alone, grads[i]), atol=1e-4)


@pytest.mark.parametrize("make", [muon_two_rates, normuon])
@pytest.mark.parametrize("wrong", [{"momentum": 1.0}, {"adam_ratio": 0.0}])
def test_wrong_numbers_are_refused(make, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        make(0.1, SPEC, **wrong)


def test_a_wrong_decay_of_normuon_is_refused():
    with pytest.raises(UserError, match="b2"):
        normuon(0.1, SPEC, b2=1.0)

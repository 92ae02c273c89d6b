"""SOAP and KL-SOAP beside transcriptions of their papers' algorithms into NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lopt.base.errors import UserError
from lopt.compare.kl_soap import kl_soap, scale_by_kl_soap
from lopt.compare.soap import scale_by_soap, soap
from lopt.symmetry import Axes, PermutationSpec

B1, B2, EPS = 0.95, 0.95, 1e-8


def gradients(*shape, steps=7, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, *shape))


def directions(optimizer, grads, jit=True):
    """The directions of all steps of one tensor."""
    update = jax.jit(optimizer.update) if jit else optimizer.update
    state = optimizer.init(jnp.asarray(grads[0], jnp.float32))
    found = []
    for grad in grads:
        direction, state = update(jnp.asarray(grad, jnp.float32), state)
        found.append(direction)
    return np.stack(found)


def by_numpy(grads, every, longest=100, kl=False):
    """SOAP, or KL-SOAP, of a matrix in double precision, step by step."""
    n, m = grads[0].shape
    rotates = n <= longest, m <= longest
    factors = [np.zeros((n, n)), np.zeros((m, m))]
    bases = [np.eye(n), np.eye(m)]
    values = [np.full(n, 0.1), np.full(m, 0.1)]
    momentum, square = np.zeros((n, m)), np.zeros((n, m))
    found = []
    for t, g in enumerate(grads):
        if t == 0:
            found.append(np.zeros((n, m)))
        else:
            momentum = B1 * momentum + (1 - B1) * g
            projected = bases[0].T @ g @ bases[1]
            square = B2 * square + (1 - B2) * projected**2
            mean, spread = momentum / (1 - B1**t), square / (1 - B2**t)
            ratio = (bases[0].T @ mean @ bases[1]) / (np.sqrt(spread) + EPS)
            found.append(bases[0] @ ratio @ bases[1].T)
        inverses = [np.eye(n), np.eye(m)]
        if kl and t > 0:
            for side in (0, 1):
                if rotates[side]:
                    inverses[side] = bases[side] @ np.diag(1 / values[side]) @ bases[side].T
        seen = [g @ inverses[1] @ g.T, g.T @ inverses[0] @ g]
        if kl:
            seen = [seen[0] / m, seen[1] / n]
        for side in (0, 1):
            factors[side] = B2 * factors[side] + (1 - B2) * seen[side]
            if t > 0:
                energies = np.diag(bases[side].T @ seen[side] @ bases[side])
                values[side] = np.maximum(B2 * values[side] + (1 - B2) * energies, 1 / 100)
        for side in (0, 1):
            if not rotates[side]:
                continue
            if t == 0:
                bases[side] = np.linalg.eigh(factors[side])[1][:, ::-1]
            elif t % every == 0:
                old = bases[side]
                if not kl:
                    estimated = np.diag(old.T @ factors[side] @ old)
                    order = np.argsort(-estimated)
                    old = old[:, order]
                    square = square[order] if side == 0 else square[:, order]
                bases[side] = np.linalg.qr(factors[side] @ old)[0]
    return np.stack(found)


@pytest.mark.parametrize("kl", [False, True])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("longest", [100, 2])
def test_a_matrix_moves_as_in_the_papers(kl, every, longest):
    grads = gradients(3, 2)
    make = scale_by_kl_soap if kl else scale_by_soap
    found = directions(make(precondition_frequency=every, max_precond_dim=longest), grads)
    np.testing.assert_allclose(found, by_numpy(grads, every, longest, kl), atol=2e-4)
    assert not found[0].any()
    assert np.abs(found[-1]).max() > 0.1


@pytest.mark.parametrize("make", [scale_by_soap, scale_by_kl_soap])
@pytest.mark.parametrize("shape", [(4,), (), (3, 2)])
def test_what_is_not_rotated_is_adams_from_the_second_gradient_on(make, shape):
    grads = gradients(*shape)
    found = directions(make(max_precond_dim=0), grads)
    adam = directions(optax.scale_by_adam(B1, B2, EPS), grads[1:])
    np.testing.assert_allclose(found[1:], adam, rtol=1e-4)


def test_diagonal_gradients_have_adams_steps():
    """The eigenvectors are the axes, whatever their order and signs."""
    grads = [np.diag(row) for row in gradients(3) + np.asarray([9.0, 5.0, 1.0])]
    found = directions(scale_by_soap(precondition_frequency=1), grads)
    adam = directions(optax.scale_by_adam(B1, B2, EPS), grads[1:])
    np.testing.assert_allclose(found[1:], adam, atol=1e-4)


@pytest.mark.parametrize("make", [scale_by_soap, scale_by_kl_soap])
def test_permuting_neurons_permutes_the_steps(make):
    grads = gradients(4, 4)
    order = np.asarray([2, 0, 3, 1])
    plain = directions(make(precondition_frequency=2), grads)
    permuted = directions(make(precondition_frequency=2), grads[:, order][:, :, order[::-1]])
    np.testing.assert_allclose(permuted, plain[:, order][:, :, order[::-1]], atol=1e-3)


@pytest.mark.parametrize("make", [scale_by_soap, scale_by_kl_soap])
def test_each_matrix_of_a_stack_moves_as_it_does_alone(make):
    grads = gradients(3, 4, 2)
    axes = Axes("h", "layers", "k", roles=("input", "stack", "output"))
    spec = PermutationSpec({"w": axes}, {"h": 3, "layers": 4, "k": 2})
    optimizer = make(spec, precondition_frequency=2)
    state = optimizer.init({"w": jnp.zeros((3, 4, 2))})
    update = jax.jit(optimizer.update)
    for grad in grads:
        stacked, state = update({"w": jnp.asarray(grad, jnp.float32)}, state)
    for i in range(4):
        alone = directions(make(precondition_frequency=2), grads[:, :, i])[-1]
        np.testing.assert_allclose(stacked["w"][:, i], alone, atol=1e-3)


def test_kernels_are_matrices_from_what_they_read_to_what_they_write():
    grads = gradients(2, 3, 6)
    axes = Axes("h", "space", "k", roles=("input", "spatial", "output"))
    spec = PermutationSpec({"w": axes}, {"h": 2, "space": 3, "k": 6}, fixed=["space"])
    optimizer = scale_by_soap(spec, precondition_frequency=2)
    state = optimizer.init({"w": jnp.zeros((2, 3, 6))})
    update = jax.jit(optimizer.update)
    for grad in grads:
        kernel, state = update({"w": jnp.asarray(grad, jnp.float32)}, state)
    merged = directions(scale_by_soap(precondition_frequency=2), grads.reshape(-1, 6, 6))[-1]
    np.testing.assert_allclose(kernel["w"].reshape(6, 6), merged, atol=1e-3)


@pytest.mark.parametrize("make", [soap, kl_soap])
def test_weight_decay_is_decoupled(make):
    params = jnp.ones((3, 2))
    optimizer = make(0.1, weight_decay=0.5)
    updates, _ = optimizer.update(jnp.zeros((3, 2)), optimizer.init(params), params)
    np.testing.assert_allclose(updates, -0.05, rtol=1e-6)


@pytest.mark.parametrize("make", [soap, kl_soap])
@pytest.mark.parametrize(
    "wrong", [{"precondition_frequency": 0}, {"b1": 1.0}, {"max_precond_dim": -1}, {"eps": -1.0}]
)
def test_wrong_numbers_are_refused(make, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        make(0.1, **wrong)

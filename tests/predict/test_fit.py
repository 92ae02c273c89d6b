from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from predicting import KINDS, Largest, mlps_of

from lopt.base.errors import UserError
from lopt.base.parts import build
from lopt.predict import PREDICTORS, TrainingBudget, fit, load, save
from lopt.predict.metrics import kendall_tau
from lopt.predict.networks import require_scores
from lopt.predict.readings import read, standard_of, standardized
from lopt.symmetry import Axes, PermutationSpec, SpecError
from lopt.unf import backend

QUICK = TrainingBudget(epochs=1)


def test_a_trained_predictor_orders_networks_that_it_has_not_seen(trained, mlps):
    unseen = mlps_of(mlps.spec, 40, seed=1)
    assert kendall_tau(trained.many(unseen.params), unseen.scores) > 0.5


def test_permuting_hidden_units_leaves_the_predicted_score(trained, mlps):
    params = jax.tree.map(lambda x: x[:8], mlps.params)
    permutations = mlps.spec.sample(jax.random.key(1))
    assert (permutations["hidden"] != np.arange(5)).any()
    permuted = jax.vmap(lambda p: mlps.spec.permute(p, permutations))(params)
    scores = trained.many(params)
    np.testing.assert_allclose(trained.many(permuted), scores, atol=1e-5)
    assert np.ptp(scores) > 0.1


def test_what_is_saved_predicts_the_same(trained, mlps, tmp_path):
    save(tmp_path / "p.safetensors", trained)
    loaded = load(tmp_path / "p.safetensors")
    params = jax.tree.map(lambda x: x[:8], mlps.params)
    np.testing.assert_array_equal(loaded.many(params), trained.many(params))
    assert loaded.model == trained.model
    assert loaded.provenance["networks"] == 60


def test_one_network_has_the_score_that_it_has_among_many(trained, mlps):
    params = jax.tree.map(lambda x: x[:8], mlps.params)
    one = trained(jax.tree.map(lambda x: x[3], params))
    assert one == pytest.approx(trained.many(params)[3], abs=1e-6)


def test_a_predictor_reads_networks_of_another_width(trained):
    axes = trained.spec.axes
    wider = PermutationSpec(axes, {"in": 3, "hidden": 9, "out": 2}, ("in", "out"))
    networks = mlps_of(wider, 30, seed=2)
    assert kendall_tau(trained.many(networks.params, wider), networks.scores) > 0.3
    with pytest.raises(SpecError, match=r"'hidden'.* 5 .* 9"):
        trained.many(networks.params)
    other = PermutationSpec({"w": Axes("in", "out")}, {"in": 3, "out": 2})
    with pytest.raises(UserError, match="other tensors or groups"):
        trained.many({"w": np.ones((1, 3, 2), np.float32)}, other)


def test_networks_one_by_one_as_on_a_cpu_and_together_train_the_same(mlps, monkeypatch):
    class Again(Largest):
        """Equal to no `Largest`, so that nothing that was compiled for one is reused."""

    budget = TrainingBudget(learning_rates=(1e-2,), epochs=2, batch_size=4)
    found = []
    for cpu, kind in ((True, Largest), (False, Again)):
        monkeypatch.setattr(backend, "on_cpu", lambda cpu=cpu: cpu)
        predictor = fit(mlps.params, mlps.scores, mlps.spec, kind(0.5), budget=budget)
        found.append(predictor.many(mlps.params))
    np.testing.assert_allclose(*found, rtol=1e-4)
    assert np.ptp(found[0]) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_perceptron_reads_features_of_mean_zero_and_variance_one(kind, mlps):
    model = build(PREDICTORS, kind)
    readings = read(model, mlps.spec, mlps.params)
    readings = standard_of(readings)(readings)
    network = model.network(mlps.spec)
    theta = network.init(jax.random.key(0), jax.tree.map(lambda x: x[0], readings))
    theta = standardized(model, mlps.spec, theta, readings)
    scores, seen = jax.vmap(lambda r: network.apply(theta, r, mutable=["features"]))(readings)
    (x,) = jax.tree.leaves(seen)
    varies = np.std(x, 0) > 1e-5

    of_last = {k[-2:]: v for k, v in flatten_dict(theta["params"]).items()}
    own = {k[-1]: v for k, v in flatten_dict(theta["standard"]).items()}
    x = (x - own["center"]) / own["scale"]
    np.testing.assert_allclose(np.mean(x, 0), 0, atol=1e-3)
    np.testing.assert_allclose(np.std(x[:, varies], 0), 1, rtol=1e-3)
    for i in range(2):
        x = jnp.maximum(x, 0) if i else x
        x = x @ of_last[f"Dense_{i}", "kernel"] + of_last[f"Dense_{i}", "bias"]
    np.testing.assert_allclose(scores, x, rtol=1e-4, atol=1e-5)


def test_training_leaves_what_standardizes(mlps):
    budget = TrainingBudget(learning_rates=(1e-2,), epochs=2, batch_size=4)
    found = [
        fit(mlps.params, mlps.scores, mlps.spec, KINDS[2], budget=b).theta
        for b in (budget, replace(budget, epochs=1))
    ]
    assert set(found[0]) == {"params", "standard"}
    jax.tree.map(np.testing.assert_array_equal, *(theta["standard"] for theta in found))


def test_squared_loss_predicts_scores_of_any_size(mlps):
    budget = TrainingBudget(learning_rates=(1e-2,), epochs=12, batch_size=4, patience=12)
    scores = 100 * mlps.scores - 300
    found = fit(
        mlps.params, scores, mlps.spec, "stat_nn(hidden=(8,))", loss="squared", budget=budget
    )
    error = np.mean((found.many(mlps.params) - scores) ** 2)
    assert error < 0.3 * scores.var()


def test_the_same_seed_gives_the_same_predictor(mlps):
    first, again, other = (
        fit(mlps.params, mlps.scores, mlps.spec, "stat_nn(hidden=(8,))", budget=QUICK, seed=s)
        for s in (0, 0, 1)
    )
    jax.tree.map(np.testing.assert_array_equal, first.theta, again.theta)
    assert (first.many(mlps.params) != other.many(mlps.params)).any()


def test_the_learning_rate_that_is_best_on_validation_is_kept(mlps):
    budget = TrainingBudget(learning_rates=(1e-9, 1e-2), epochs=6, batch_size=4)
    found = fit(mlps.params, mlps.scores, mlps.spec, "stat_nn(hidden=(8,))", budget=budget)
    assert found.provenance["learning_rate"] == 1e-2


def test_a_kind_of_predictor_of_the_users_own_is_fitted_saved_and_loaded(mlps, tmp_path):
    budget = TrainingBudget(learning_rates=(0.3,), epochs=6, batch_size=4)
    model = "predicting:Largest(power=0.5)"
    found = fit(mlps.params, mlps.scores, mlps.spec, model, budget=budget)
    assert kendall_tau(found.many(mlps.params), mlps.scores) > 0.5
    save(tmp_path / "p.safetensors", found)
    loaded = load(tmp_path / "p.safetensors")
    assert loaded.model == Largest(power=0.5)
    np.testing.assert_array_equal(loaded.many(mlps.params), found.many(mlps.params))


def test_a_list_of_networks_is_taken_too(mlps):
    each = [jax.tree.map(lambda x, i=i: x[i], mlps.params) for i in range(len(mlps))]
    model = "stat_nn(hidden=(8,))"
    one = fit(each, mlps.scores, mlps.spec, model, budget=QUICK)
    other = fit(mlps.params, mlps.scores, mlps.spec, model, budget=QUICK)
    jax.tree.map(np.testing.assert_array_equal, one.theta, other.theta)
    each[7] = {"first": each[7]["first"]}
    with pytest.raises(UserError, match="network 7: second/kernel"):
        fit(each, mlps.scores, mlps.spec, model, budget=QUICK)


def test_networks_that_are_not_finite_are_named(mlps):
    params = jax.tree.map(np.copy, mlps.params)
    params["second"]["kernel"][17, 0, 0] = np.nan
    params["first"]["bias"][40, 0] = np.inf
    with pytest.raises(UserError, match="network 17: second/kernel"):
        fit(params, mlps.scores, mlps.spec, "stat_nn")


@pytest.mark.parametrize(
    ("scores", "loss", "words"),
    [
        ([0.5, 1.2, -3.0], "cross_entropy", "network 1: .* 1.2 "),
        ([0.5, 0.2, np.nan], "squared", "network 2: .* nan "),
        ([0.5, 0.2], "squared", "for 3 networks"),
        ([0.5, 0.2, 0.1], "absolute", "loss 'absolute'"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores, loss, words):
    with pytest.raises(UserError, match=words):
        require_scores(scores, 3, loss)


def test_too_few_networks_are_refused(mlps):
    few = jax.tree.map(lambda x: x[:6], mlps.params)
    with pytest.raises(UserError, match="6 networks of 6 runs"):
        fit(few, mlps.scores[:6], mlps.spec, "stat_nn")


def test_networks_that_do_not_fit_the_spec_are_refused(mlps):
    with pytest.raises(SpecError, match="second/kernel"):
        fit({"first": mlps.params["first"]}, mlps.scores, mlps.spec, "stat_nn")
    with pytest.raises(SpecError, match="PermutationSpec"):
        fit(mlps.params, mlps.scores, {"w": None}, "stat_nn")


def test_an_unknown_predictor_or_argument_is_refused(mlps):
    with pytest.raises(UserError, match=r"'unv'.* unf"):
        fit(mlps.params, mlps.scores, mlps.spec, "unv")
    with pytest.raises(UserError, match="'exakt'"):
        fit(mlps.params, mlps.scores, mlps.spec, "unf(layers=exakt)")


def test_files_that_hold_no_predictor_are_refused(trained, tmp_path):
    path = tmp_path / "p.safetensors"
    with pytest.raises(UserError, match="no predictor file"):
        load(path)
    save(path, trained)
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="is damaged"):
        load(path)

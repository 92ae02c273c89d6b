import numpy as np
import pytest

from lopt.predict.metrics import accuracy, are_binary, auc, kendall_tau, over_runs, r_squared
from lopt.predict.networks import choose


def test_tau_is_that_of_the_definition_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(5, size=30), rng.integers(5, size=30)
    signs = np.array(
        [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i in range(30) for j in range(i)]
    )
    expected = np.sum(signs[:, 0] * signs[:, 1]) / np.sqrt(np.prod(np.sum(signs**2, 0)))
    assert kendall_tau(a, b) == pytest.approx(expected)
    assert kendall_tau(a, np.zeros(30)) == 0


def test_r_squared_of_the_mean_is_zero():
    true = np.array([0.1, 0.4, 0.9])
    assert r_squared(np.full(3, true.mean()), true) == pytest.approx(0)
    assert r_squared(true, true) == 1


def test_auc_is_the_share_of_pairs_in_order_with_ties_as_halves():
    rng = np.random.default_rng(0)
    predicted, true = rng.integers(6, size=40) / 5, rng.integers(2, size=40)
    ones, zeros = predicted[true == 1], predicted[true == 0]
    pairs = np.sign(ones[:, None] - zeros[None])
    assert auc(predicted, true) == pytest.approx((pairs.mean() + 1) / 2)
    assert auc(true, true) == 1
    assert auc(np.ones(40), true) == 0.5
    assert np.isnan(auc(predicted, np.ones(40)))


def test_accuracy_counts_predictions_on_the_right_side_of_a_half():
    true = np.array([0.0, 1.0, 1.0, 0.0, 1.0])
    assert accuracy(np.array([0.1, 0.9, 0.2, 0.6, 0.5]), true) == pytest.approx(0.6)
    assert are_binary(true)
    assert not are_binary(true / 2)


def test_intervals_over_runs_are_wider_than_over_networks_that_copy_each_other():
    rng = np.random.default_rng(1)
    values = np.repeat(rng.normal(size=20), 10)
    mean = lambda index: float(values[index].mean())  # noqa: E731
    by_run, alone = over_runs(mean, np.repeat(np.arange(20), 10)), over_runs(mean, np.arange(200))
    assert np.ptp(by_run) > 2 * np.ptp(alone)


@pytest.mark.parametrize("seed", range(5))
def test_networks_of_one_run_stand_on_one_side_of_a_split(seed):
    runs = np.random.default_rng(9).integers(40, size=150)
    chosen = choose(runs, 0.25, seed)
    assert not set(runs[chosen]) & set(runs[~chosen])
    assert len(set(runs[chosen])) == round(0.25 * len(set(runs)))

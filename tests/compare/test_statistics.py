import numpy as np
import pytest

from lopt.compare.statistics import interquartile_mean, profile, profile_scores


def test_the_interquartile_mean_leaves_out_a_quarter_at_either_end():
    scores = np.array([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 1000.0]])
    assert interquartile_mean(scores).mean == np.mean([2, 3, 4, 5])


def test_equal_scores_have_an_interval_of_no_length_and_tie_at_one():
    found = interquartile_mean(np.ones((3, 4)))
    assert found == (1, 1, 1)
    assert found.is_tie
    assert not interquartile_mean(np.full((3, 4), 1.01)).is_tie


def test_the_interval_covers_the_truth_nineteen_times_of_twenty():
    """Within two and a half standard errors of that many draws."""
    rng = np.random.default_rng(0)
    tasks, seeds, draws = 12, 5, 400
    covered = 0
    for _ in range(draws):
        scores = 2 + rng.normal(size=(tasks, 1)) + 0.5 * rng.normal(size=(tasks, seeds))
        found = interquartile_mean(scores)
        covered += found.low <= 2 <= found.high
    assert 0.95 - 0.028 <= covered / draws <= 0.95 + 0.028


def test_what_all_tasks_share_does_not_average_out():
    rng = np.random.default_rng(0)
    shared = np.broadcast_to(rng.normal(size=(1, 8)), (50, 8))
    own = rng.normal(size=(50, 8))
    width = {n: np.ptp(interquartile_mean(s)[1:]) for n, s in (("shared", shared), ("own", own))}
    assert width["shared"] > 2 * width["own"]


@pytest.mark.parametrize("shape", [(1, 6), (6, 1)])
def test_one_task_or_one_seed_resamples_the_other(shape):
    found = interquartile_mean(np.arange(6.0).reshape(shape))
    assert found.low < found.mean < found.high


def test_one_score_has_no_interval():
    found = interquartile_mean(np.array([[2.0]]))
    assert found.mean == 2
    assert np.isnan(found.low)
    assert np.isnan(found.high)
    assert not found.is_tie
    assert interquartile_mean(np.array([[1.0]])).is_tie


def test_a_profile_is_the_fraction_of_tasks_within_a_factor_of_the_best():
    steps = np.array([[10.0, 10.0, np.inf], [20.0, 5.0, 8.0]])
    assert profile(steps, np.array([1.0, 1.9, 2.0])).tolist() == [
        [1 / 3, 1 / 3, 2 / 3],
        [2 / 3, 2 / 3, 1.0],
    ]


def test_a_profiles_score_is_its_mean_height():
    steps = np.array([[10.0, 10.0, np.inf], [20.0, 5.0, 8.0]])
    factors = np.linspace(1, 4, 30_001)
    heights = profile(steps, factors).mean(1)
    np.testing.assert_allclose(profile_scores(steps), heights, atol=1e-3)

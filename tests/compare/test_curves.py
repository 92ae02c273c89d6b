import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lopt.compare.curves import smooth, speedup, steps_to

falling = st.lists(st.floats(0.01, 1.0), min_size=3, max_size=60).map(
    lambda drops: 100.0 - np.cumsum(drops)
)


def test_a_smoothed_loss_is_the_mean_of_the_last_twentieth_of_the_steps():
    losses = np.random.default_rng(0).uniform(size=(2, 100))
    curves = smooth(losses)
    for t in range(100):
        np.testing.assert_allclose(curves[:, t], losses[:, max(0, t - 4) : t + 1].mean(1))


def test_a_curve_is_infinite_from_its_first_bad_loss_on():
    losses = np.ones(100)
    losses[[40, 41]] = np.inf, np.nan
    curve = smooth(losses)
    assert np.all(curve[:40] == 1)
    assert np.all(curve[40:] == np.inf)


@given(falling)
def test_a_curve_ties_with_itself(curve):
    assert speedup(curve, curve) == 1


@given(falling, st.integers(2, 5))
def test_taking_each_step_several_times_is_slower_by_that_factor(curve, times):
    slow = np.repeat(curve, times)
    reference = np.concatenate([curve, np.full(len(slow) - len(curve), curve[-1])])
    of_slow = steps_to(slow, curve[-1])
    assert speedup(reference, slow) == pytest.approx(len(curve) / of_slow)
    assert of_slow == times * (len(curve) - 1) + 1


def test_who_does_not_get_there_is_judged_by_the_reference_at_its_own_final_loss():
    reference = np.array([8.0, 4.0, 2.0, 1.0])
    assert speedup(reference, np.array([9.0, 8.0, 6.0, 3.0])) == 3 / 4
    assert speedup(reference, np.array([9.0, 9.0, 9.0, 9.0])) == 1 / 4


def test_who_diverges_has_the_smallest_factor_and_who_meets_a_diverged_reference_the_largest():
    sound, diverged = np.array([4.0, 3.0, 2.0]), np.array([1.0, 0.5, np.inf])
    assert speedup(sound, diverged) == 1 / 3
    assert speedup(diverged, sound) == 3
    assert speedup(diverged, diverged) == 1

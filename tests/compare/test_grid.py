import numpy as np
import pytest

from lopt.base.errors import UserError
from lopt.compare.grid import DECADES, Budget, Search, coarse, edge, finer, grid, refined
from lopt.compare.trials import Setting, Trial

BUDGET = Budget(7, ("constant", "cosine"), (0.0, 0.1))


def trained(loss_at):
    """Runs settings on an imaginary task, whose loss is a function of the setting."""
    asked = []

    def run(settings):
        asked.extend(settings)
        return [Trial(s, np.full((2, 3), loss_at(s)), {"loss": np.ones(2)}) for s in settings]

    return run, asked


def tune(search, budget, run):
    """All trials of a search, and which end of its grid the best rate is at."""
    trials = run(coarse(search, budget))
    trials += run(finer(budget, trials, "final_loss"))
    return trials, edge(trials, "final_loss")


@pytest.mark.parametrize("scheduled", [True, False])
@pytest.mark.parametrize("decays", [True, False])
def test_every_optimizer_gets_the_same_number_of_trials(scheduled, decays):
    run, asked = trained(lambda s: abs(np.log10(s.learning_rate) + 2))
    trials, at_edge = tune(Search(0.01, scheduled, decays), BUDGET, run)
    assert len(trials) == len(asked) == BUDGET.trials == 28
    assert len(set(asked)) == 28
    assert {s.schedule for s in asked} == ({"constant", "cosine"} if scheduled else {"constant"})
    assert {s.weight_decay for s in asked} == ({0.0, 0.1} if decays else {None})
    assert not at_edge


def test_a_grid_is_even_on_a_log_axis():
    rates = np.array(grid(0.02, 7))
    assert rates[3] == 0.02
    np.testing.assert_allclose(np.diff(np.log10(rates)), DECADES / 6, atol=0.03)


def test_the_last_two_rates_surround_the_best():
    run, asked = trained(lambda s: abs(np.log10(s.learning_rate) - np.log10(0.05)))
    tune(Search(0.01), Budget(7), run)
    first, last = sorted(s.learning_rate for s in asked[:5]), [s.learning_rate for s in asked[5:]]
    best = min(first, key=lambda rate: abs(np.log10(rate / 0.05)))
    i = first.index(best)
    assert first[i - 1] < last[0] < best < last[1] < first[i + 1]


@pytest.mark.parametrize(("sign", "end"), [(1, "lowest"), (-1, "highest")])
def test_a_grid_whose_best_is_at_an_edge_reaches_further_and_says_if_it_still_is(sign, end):
    run, asked = trained(lambda s: 10 + sign * np.log10(s.learning_rate))
    _, at_edge = tune(Search(0.01), Budget(7), run)
    beyond = [sign * np.log10(s.learning_rate) for s in asked[5:]]
    assert max(beyond) < min(sign * np.log10(s.learning_rate) for s in asked[:5])
    assert at_edge == end

    turning = np.log10(asked[5 if sign < 0 else 6].learning_rate)
    run, _ = trained(lambda s: abs(np.log10(s.learning_rate) - turning))
    assert tune(Search(0.01), Budget(7), run)[1] == ""


def test_where_all_diverge_lower_rates_are_tried():
    run, asked = trained(lambda s: np.nan)
    tune(Search(0.01), Budget(7), run)
    assert max(s.learning_rate for s in asked[5:]) < min(s.learning_rate for s in asked[:5])


def test_small_grids_are_tried_at_once():
    assert [s.learning_rate for s in coarse(Search(0.01), Budget(3))] == [0.00032, 0.01, 0.32]
    assert coarse(Search(0.01), Budget(1)) == [Setting(0.01, "cosine")]
    assert len(refined((0.1, 1.0), 1.0)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0,), "rates"),
        ((7, ()), "schedules"),
        ((7, ("cosin",)), "'cosin'.* cosine"),
    ],
)
def test_budgets_that_cannot_be_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        Budget(*arguments)


def test_a_seed_that_diverges_makes_its_setting_the_worst():
    losses = np.full((2, 40), 0.1)
    losses[1, 20:] = np.nan
    trial = Trial(Setting(0.1, "cosine"), losses, {"loss": np.array([0.1, np.nan])})
    for measure in ("final_loss", "mean_loss", "held_out_loss"):
        assert trial.score(measure) == np.inf
    assert trial.diverged.tolist() == [False, True]

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lopt.base.errors import UserError
from lopt.predict import TrainingBudget, fit, save
from lopt.predict.experiment import Experiment, Job, Outcome, Settings
from lopt.predict.report import how, main_table, plain
from lopt.predict.summary import summaries


@pytest.fixture
def experiment(mlps, small_config, tmp_path):
    return Experiment(Settings.from_config(small_config.predict), mlps, {}, tmp_path)


def test_no_run_is_both_trained_on_and_tested(experiment):
    runs = experiment.networks.runs
    tested = set(runs[experiment.tested])
    assert len(tested) == round(0.3 * 30)
    for size in (1, 10, 11, 42, 1000):
        assert not tested & set(runs[experiment.training(size)])


def test_a_smaller_training_set_is_part_of_a_larger_one_and_of_whole_runs(experiment):
    sizes = [experiment.training(size) for size in (1, 10, 11, 42)]
    assert [len(index) for index in sizes] == [2, 10, 12, 42]
    for smaller, larger in pairwise(sizes):
        assert set(smaller) <= set(larger)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tests": 0.2}, "predict .*'tests'"),
        ({"test": 1.5}, "predict: test .* 1.5"),
        ({"seeds": 0}, "seeds must be"),
        ({"predictors": {}}, "predictors must be"),
        ({"predictors": {"a": {"name": "mlp"}}}, "predictor 'mlp'"),
        ({"budget": {"epochs": 0}}, "budget: epochs .* 0"),
        ({"budget": {"validation": 1.0}}, "budget: validation .* 1.0"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(small_config, change, words):
    with pytest.raises(UserError, match=words):
        Settings.from_config({**small_config.predict.to_dict(), **change})


def test_sizes_beyond_the_training_networks_are_refused(mlps, small_config, tmp_path):
    settings = Settings.from_config({**small_config.predict.to_dict(), "sizes": (43,)})
    with pytest.raises(UserError, match="1 to 42"):
        Experiment(settings, mlps, {}, tmp_path)


def test_scores_that_are_no_probabilities_are_named(mlps, small_config, tmp_path):
    scores = mlps.scores.copy()
    scores[5] = np.float64(1.5)
    changed = type(mlps)(mlps.params, scores, mlps.runs, mlps.names, mlps.spec)
    with pytest.raises(UserError, match=r"network-5: .* 1\.5 "):
        Experiment(Settings.from_config(small_config.predict), changed, {}, tmp_path)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"validation_taus": [0.5], "seconds": "1 s", "learning_rate": 0.1},
        {"validation_taus": [], "seconds": 1.0, "learning_rate": 0.1},
        {"validation_taus": {"a": 1}, "seconds": 1.0, "learning_rate": 0.1},
        {"validation_taus": [0.5], "seconds": 10**400, "learning_rate": 0.1},
    ],
)
def test_a_kept_predictor_that_does_not_say_how_it_was_trained_is_named(told, experiment, stat_nn):
    job = Job("stat_nn", 42, 0)
    save(experiment.folder / job.file, replace(stat_nn, provenance=told))
    with pytest.raises(UserError, match=r"stat_nn-42-0.* trained"):
        experiment.trained(job)


@pytest.fixture(scope="module")
def stat_nn(mlps):
    return fit(
        mlps.params, mlps.scores, mlps.spec, "stat_nn(hidden=(4,))", budget=TrainingBudget(epochs=1)
    )


def found_by(experiment, predicted):
    """The summaries of predictors that all predict the same."""
    test = experiment.networks[experiment.tested]
    jobs = experiment.jobs()
    outcomes = [Outcome(job, predicted(test.scores), {}, 1.0, 1, 1e-3) for job in jobs]
    return summaries(experiment, outcomes)


def test_binary_scores_have_auc_and_accuracy_in_the_report_and_others_do_not(
    mlps, small_config, tmp_path
):
    settings = Settings.from_config({**small_config.predict.to_dict(), "sizes": ()})
    binary = replace(mlps, scores=(mlps.scores > 0.5).astype(float))
    experiment = Experiment(settings, binary, {}, tmp_path)
    found = found_by(experiment, lambda scores: 0.2 + 0.2 * scores)  # in order, below a half
    (own, *_) = plain(experiment, found)["results"]
    zeros = np.mean(binary.scores[experiment.tested] == 0)
    assert own["aucs"] == [1.0, 1.0]
    assert own["accuracies"] == pytest.approx([zeros, zeros])
    assert "| AUC | accuracy |" in main_table(experiment, found)[0]
    assert "All scores are 0 or 1" in how(experiment)

    experiment = Experiment(settings, mlps, {}, tmp_path)
    found = found_by(experiment, lambda scores: scores)
    assert not {"aucs", "accuracies"} & plain(experiment, found)["results"][0].keys()
    assert "AUC" not in main_table(experiment, found)[0]
    assert "All scores" not in how(experiment)

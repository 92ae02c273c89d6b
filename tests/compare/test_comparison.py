import json

import numpy as np
import optax
import pytest

from lopt.compare import BASELINES, LEARNING_RATES, Results, Trial, markdown, plot, run_trials
from lopt.tasks import mlp, quadratic


def trial(name, kind, rate, losses, schedule="cosine"):
    losses = np.asarray(losses, float)
    return Trial(name, kind, rate, schedule, losses, {"accuracy": np.full(len(losses), 0.5)})


@pytest.fixture
def results():
    falling = np.linspace(1.0, 0.0, 40)
    return Results(
        "a task",
        [
            trial("learned", "learned", 0.02, [falling, falling]),
            trial("adam", "baseline", 0.1, [falling + 0.3, falling + 0.1]),
            trial("adam", "baseline", 0.2, [falling * 0 + 0.65, falling * 0 + 0.65]),
            trial("adam", "baseline", 1.0, [falling, falling * np.nan]),
        ],
    )


def test_measures_are_means_over_steps_and_seeds():
    t = trial("a", "baseline", 0.1, [np.arange(100.0), np.arange(100.0) + 2])
    assert t.mean_loss == 49.5 + 1
    assert t.final_loss == 97 + 1


def test_the_best_is_the_lowest_and_never_one_that_diverged(results):
    assert results.best("adam").learning_rate == 0.2
    assert results.best("adam", "final_loss").learning_rate == 0.1


def test_results_json_has_every_point_and_one_best_for_each_name(results):
    data = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    assert (data["task"], data["steps"], data["seeds"]) == ("a task", 40, 2)
    assert [o["learning_rate"] for o in data["optimizers"]] == [0.02, 0.1, 0.2, 1.0]
    assert [o["learning_rate"] for o in data["optimizers"] if o["best"]] == [0.02, 0.2]
    keys = {"name", "kind", "learning_rate", "schedule", "mean_loss", "final_loss", "curve"}
    for o in data["optimizers"]:
        assert keys | {"test_accuracy"} <= o.keys()
        assert len(o["curve"]) == 40
    assert data["optimizers"][3]["mean_loss"] is None


def test_the_report_says_who_won_whoever_it_is(results):
    text = markdown(results, "curves.png")
    assert "mean loss: learned wins" in text
    assert "of 3 settings" in text
    assert "lower on 2 of 2 seeds" in text
    worse = [trial("learned", "learned", 0.02, [np.full(40, 2.0)] * 2), *results.trials[1:]]
    text = markdown(Results("a task", worse), "curves.png")
    assert "mean loss: adam wins" in text
    assert "final loss: adam wins" in text
    assert "lower on 0 of 2 seeds" in text


@pytest.mark.parametrize(
    ("metrics", "column", "cell"),
    [
        ({"loss": 0.5, "accuracy": 0.9}, "test accuracy", "90.00 %"),
        ({"loss": 0.5, "bits_per_character": 2.5}, "test bits per character", "2.500"),
        ({"loss": 0.25}, "test loss", "0.2500"),
    ],
)
def test_the_report_has_the_tasks_own_metric_of_held_out_data(metrics, column, cell):
    arrays = {name: np.full(2, value) for name, value in metrics.items()}
    t = Trial("learned", "learned", 0.1, "cosine", np.ones((2, 40)), arrays)
    lines = [line for line in markdown(Results("a task", [t]), "").splitlines() if "|" in line]
    assert lines[0].endswith(f"| {column} |")
    assert lines[2].endswith(f"| {cell} |")


def test_the_picture_is_drawn(results, tmp_path):
    plot(results, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_trials_are_plain_training_runs():
    task = quadratic(dimension=3, condition=2.0)
    trials = run_trials(
        task, "sgd", "baseline", optax.sgd, (0.1, 0.5), "constant", steps=3, seeds=2
    )
    curvature = np.asarray(task.curvature)
    for t, rate in zip(trials, (0.1, 0.5), strict=True):
        assert t.losses.shape == (2, 3)
        assert t.learning_rate == rate
        shrink = (1 - rate * curvature) ** 2
        assert np.all(t.losses[:, 1] <= t.losses[:, 0] * shrink.max() * 1.001)
        assert np.all(t.losses[:, 1] >= t.losses[:, 0] * shrink.min() * 0.999)
    np.testing.assert_allclose(trials[0].losses[:, 0], trials[1].losses[:, 0], rtol=1e-6)


def test_every_baseline_trains_on_the_same_start_and_its_best_rate_is_inside_the_grid():
    task = mlp(widths=(8,), batch_size=16)
    starts = []
    for name, make in BASELINES.items():
        trials = run_trials(task, name, "baseline", make, LEARNING_RATES, "cosine", 40, seeds=2)
        starts.append(trials[0].losses[:, 0])
        best = Results("mlp", trials).best(name)
        assert LEARNING_RATES[0] < best.learning_rate < LEARNING_RATES[-1]
        assert best.mean_loss < starts[0].mean()
    np.testing.assert_allclose(*starts, rtol=1e-5)


def test_the_grid_is_fine_enough():
    assert len(LEARNING_RATES) >= 7

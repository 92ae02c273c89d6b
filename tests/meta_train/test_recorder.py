import pytest

from lopt.base.digested import read_digested
from lopt.meta import Metrics, Report, ValidationLoss
from lopt.meta_train.figure import meta_loss_figure
from lopt.meta_train.recorder import Recorder


def report(step, *diverged):
    metrics = tuple(Metrics(2.0 * part, part, 10, part / 2) for part in diverged)
    return Report(step, metrics, sum(m.meta_loss for m in metrics) / len(metrics), 0.5, 0)


def lines_of(folder):
    return [read_digested(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_metrics_of_several_problems_are_recorded_apart(tmp_path):
    with Recorder(tmp_path, ("a", "b"), 0, 2, ("c", "d")) as record:
        record(report(1, 0.25, 0.75))
        record(report(2, 0.25, 0.75), ValidationLoss(1.5, (1.0, 3.0)))
    first, second = lines_of(tmp_path)
    assert (first["diverged"], first["diverged/a"], first["diverged/b"]) == (0.5, 0.25, 0.75)
    assert (first["meta_loss"], first["meta_loss/a"], first["meta_loss/b"]) == (1.0, 0.5, 1.5)
    assert (first["restarted"], first["restarted/b"]) == (0.25, 0.375)
    assert not [name for name in first if name.startswith("validation")]
    names = ("validation_loss", "validation_loss/c", "validation_loss/d")
    assert [second[name] for name in names] == [1.5, 1.0, 3.0]


def test_the_meta_loss_of_each_problem_is_shown(tmp_path, capsys):
    with Recorder(tmp_path, ("a", "b"), 0, 1) as record:
        record(report(1, 0.25, 0.75))
    assert "(0.5 1.5)" in capsys.readouterr().out


def test_those_of_one_problem_are_not(tmp_path):
    with Recorder(tmp_path, ("a",), 0, 1, ("c",)) as record:
        record(report(1, 0.25), ValidationLoss(1.5, (1.5,)))
    assert not [name for name in lines_of(tmp_path)[0] if "/" in name]


def test_a_run_that_is_resumed_keeps_the_records_of_the_steps_that_are_kept(tmp_path):
    with Recorder(tmp_path, ("a",), 0, 4, ("c",)) as record:
        for step in (1, 2, 3):
            record(report(step, step / 8), ValidationLoss(float(step), (float(step),)))
    with Recorder(tmp_path, ("a",), 2, 4, ("c",)) as record:
        assert (record.history, record.validations) == ({1: 0.25, 2: 0.5}, {1: 1.0, 2: 2.0})
        record(report(3, 1.0))
        assert record.recent_meta_loss(2) == pytest.approx(0.375)
        assert record.recent_meta_loss(3) == pytest.approx((0.25 + 0.5 + 2) / 3)
    assert [line["step"] for line in lines_of(tmp_path)] == [1, 2, 3]


def test_all_records_may_be_lost(tmp_path):
    with Recorder(tmp_path, ("a",), 3, 3) as record:
        assert record.recent_meta_loss(3) is None
    assert not meta_loss_figure(record.history).axes[0].lines

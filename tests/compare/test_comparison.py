"""The comparison tested against itself: what is known must come out."""

import io
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from lopt.base.errors import UserError
from lopt.compare import compare, entries
from lopt.compare.curves import FINAL_FRACTION
from lopt.compare.runs import Program
from lopt.compare.sentences import verdicts
from lopt.compare.tables import on_task, over_all
from lopt.rules import LearnedOptimizer, UNFRule, save
from lopt.symmetry import Axes, PermutationSpec
from lopt.tasks import Quadratic, quadratic

ANY_SPACE = PermutationSpec({"x": Axes("x")}, {"x": 1})


def every_other_step(optimizer):
    """An optimizer that stands still at every other step: half as fast, whatever the task."""

    def init(params):
        return optimizer.init(params), jnp.int32(0)

    def update(grads, state, params=None):
        inner, count = state
        updates, moved = optimizer.update(grads, inner, params)
        moves = count % 2 == 1
        updates = jax.tree.map(lambda u: jnp.where(moves, u, 0), updates)
        inner = jax.tree.map(lambda new, old: jnp.where(moves, new, old), moved, inner)
        return updates, (inner, count + 1)

    return optax.GradientTransformation(init, update)


def nan_from(step):
    def update(grads, count, params=None):
        bad = jnp.where(count >= step, jnp.nan, 1.0)
        return jax.tree.map(lambda g: -0.1 * bad * g, grads), count + 1

    return optax.GradientTransformation(lambda params: jnp.int32(0), update)


def breaks(learning_rate):
    def update(grads, state, params=None):
        raise RuntimeError("shape [batch] and [/")

    return optax.GradientTransformation(lambda params: (), update)


@pytest.fixture
def learned():
    rule = UNFRule(layers="pointwise", widths=(2,), features=("gradient",))
    return LearnedOptimizer(rule, rule.init(jax.random.key(0), ANY_SPACE), None, {})


def test_an_identical_copy_ties_even_when_it_is_tuned(regression):
    found = compare(
        {"adamw": "adamw", "copy": "adamw"},
        {"a": regression, "b": quadratic(3, noise=0.1)},
        steps=30,
        seeds=3,
        rates=5,
        time_steps=False,
    )
    copy = found.standings["copy"]
    assert copy.speedup == (1, 1, 1)
    assert (copy.wins, copy.ties, copy.losses, copy.best_on) == (0, 2, 0, 2)
    assert copy.profile == found.standings["adamw"].profile == 1
    for task in ("a", "b"):
        one, other = (found.best(task, name) for name in ("adamw", "copy"))
        assert one.setting == other.setting
        np.testing.assert_array_equal(one.losses, other.losses)


def test_adam_that_stands_still_at_every_other_step_is_half_as_fast():
    """Without noise each of its steps is one of Adam's; smoothing delays by half its window."""
    task = quadratic(dimension=4, condition=3.0)
    adam = optax.adam(0.02)
    found = compare(
        {"adam": adam, "handicapped": every_other_step(adam)},
        {"quadratic": task},
        steps=400,
        seeds=4,
        time_steps=False,
    )
    handicapped = found.standings["handicapped"].speedup
    assert handicapped.mean == pytest.approx(0.5, abs=FINAL_FRACTION / 2)
    assert handicapped.high < 0.55


def test_gradient_descent_on_a_bowl_is_as_fast_as_its_closed_form_says():
    """With curvature one, the loss falls by (1 - rate)^2 a step, so the speedups are known."""
    steps, slow, fast = 300, 0.01, 0.04
    found = compare(
        {"slow": optax.sgd(slow), "fast": optax.sgd(fast)},
        {"bowl": Quadratic(jnp.ones(5))},
        steps=steps,
        seeds=2,
        time_steps=False,
    )
    window = round(FINAL_FRACTION * steps)

    def smoothed(rate):
        losses = (1 - rate) ** (2.0 * np.arange(steps))
        return np.array([losses[max(0, t - window) : t].mean() for t in range(1, steps + 1)])

    a, b = smoothed(slow), smoothed(fast)
    expected = steps / (1 + np.argmax(b <= a[-1]))
    assert expected == pytest.approx(np.log(1 - fast) / np.log(1 - slow), rel=0.1)
    assert found.standings["fast"].speedup.mean == pytest.approx(expected, rel=1e-2)
    back = compare(
        {"fast": optax.sgd(fast), "slow": optax.sgd(slow)},
        {"bowl": Quadratic(jnp.ones(5))},
        steps=steps,
        seeds=2,
        time_steps=False,
    )
    expected = (1 + np.argmax(b <= a[-1])) / steps
    assert back.standings["slow"].speedup.mean == pytest.approx(expected, rel=1e-2)


def test_an_optimizer_that_breaks_is_a_row_that_says_so(regression):
    found = compare(
        {"sgdm": "sgdm", "breaks": breaks, "nan": nan_from(3)},
        {"mine": regression},
        steps=20,
        seeds=2,
        rates=3,
        time_steps=False,
        console=Console(file=(said := io.StringIO()), force_terminal=False),
    )
    counts, lines = zip(*(s.split(" s: mine: ") for s in said.getvalue().splitlines()), strict=True)
    assert [count.split(",")[0] for count in counts] == ["3/7 trials", "6/7 trials", "7/7 trials"]
    assert lines[0].startswith("sgdm: final loss ")
    assert lines[1] == "breaks: failed: RuntimeError: shape [batch] and [/"
    rows = {row[0]: row for row in on_task(found, "mine").rows}
    assert rows["breaks"][-1] == "failed: RuntimeError: shape [batch] and [/"
    assert rows["nan"][-1] == "NaN or infinite from step 5 on, at every setting"
    for name in ("breaks", "nan"):
        place = found.standings[name]
        assert place.speedup.mean == 1 / 20
        assert (place.losses, place.failed, place.best_on, place.profile) == (1, 1, 0, 0)
    assert found.standings["sgdm"].failed == 0
    json.dumps(found.to_dict(), allow_nan=False)
    assert "failed: RuntimeError" in found._repr_html_()


def test_a_reference_that_breaks_leaves_the_others_without_speedups(regression):
    found = compare(
        {"breaks": breaks, "sgd": optax.sgd(0.1)}, {"mine": regression}, steps=5, seeds=2
    )
    assert found.reference == "breaks"
    assert np.isnan(found.standings["sgd"].speedup.mean)
    assert over_all(found).rows[0][1] == "–"
    assert found._repr_html_()


def test_a_theta_of_nan_is_a_row_that_says_so(regression, learned):
    theta = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), learned.theta)
    broken = LearnedOptimizer(learned.rule, theta, None, {})
    optimizers = {"sgd": optax.sgd(0.1), "nan": broken}
    found = compare(optimizers, {"mine": regression}, steps=8, seeds=2, time_steps=False)
    rows = {row[0]: row for row in on_task(found, "mine").rows}
    assert "NaN" in rows["nan, tuned"][-1]


def test_a_file_without_a_rate_is_tuned_and_one_with_it_is_run_at_its_default_too(
    regression, learned, tmp_path
):
    save(tmp_path / "bare.safetensors", learned)
    inner = {"steps": 10}
    told = LearnedOptimizer(learned.rule, learned.theta, None, {"inner": inner}, 0.02, "cosine")
    save(tmp_path / "told.safetensors", told)
    files = [str(tmp_path / f"{name}.safetensors") for name in ("bare", "told")]
    names = ["sgdm", "untrained", *files]
    found = compare(names, {"mine": regression}, steps=10, seeds=2, rates=5, time_steps=False)
    assert found.optimizers == ("sgdm", "untrained", "bare, tuned", "told", "told, tuned")
    assert [len(found.outcomes["mine", name].trials) for name in found.optimizers] == [
        5,
        5,
        5,
        1,
        5,
    ]
    assert found.kinds["told"] == "learned"
    assert len(verdicts(found)) == 3
    at_default = found.best("mine", "told")
    same = [t for t in found.outcomes["mine", "told, tuned"].trials if t.setting[0] == 0.02]
    np.testing.assert_allclose(at_default.losses, same[0].losses, rtol=1e-4)


def test_every_tuned_row_is_tried_with_the_schedule_that_a_row_brings_itself(regression, learned):
    told = LearnedOptimizer(learned.rule, learned.theta, None, {}, 0.02, "linear")
    optimizers = {"sgdm": "sgdm", "told": told, "schedule_free": "schedule_free_sgd"}
    arguments = {"steps": 10, "seeds": 1, "rates": 1, "time_steps": False}
    found = compare(optimizers, {"mine": regression}, **arguments)
    assert found.budget == 2
    tried = {
        name: [t.setting.schedule for t in found.outcomes["mine", name].trials]
        for name in found.optimizers
    }
    assert tried == {
        "sgdm": ["cosine", "linear"],
        "told": [""],
        "told, tuned": ["cosine", "linear"],
        "schedule_free": ["constant", "constant"],
    }


def test_in_every_table_the_fastest_stand_first_and_the_fastest_baseline_is_a_reference(regression):
    optimizers = {name: name for name in ("adamw", "sgdm", "lion")}
    optimizers |= {"breaks": breaks, "slow": optax.sgd(0.02)}
    tasks = {"mine": regression, "bowl": quadratic(3)}
    found = compare(optimizers, tasks, steps=20, seeds=2, rates=3, time_steps=False)
    tables = [over_all(found), *(on_task(found, task) for task in tasks)]
    for header, rows in tables:
        assert all(len(row) == len(header) for row in rows)
        speeds = [float(row[1].split(" ")[0]) for row in rows if row[1]]
        assert speeds == sorted(speeds, reverse=True)
        assert rows[-1][0] == "breaks"
    header, rows = tables[0]
    assert found.fastest_baseline in ("sgdm", "lion")
    assert header[2] == f"as {found.fastest_baseline}, in steps"
    (own,) = [row for row in rows if row[0] == found.fastest_baseline]
    assert own[2] == "1 [1, 1]"
    beside = compare(
        optimizers, tasks, reference="lion", steps=20, seeds=2, rates=3, time_steps=False
    )
    for name in optimizers:
        assert found.over["lion"][name] == beside.standings[name].speedup


def test_a_terminal_has_a_bar_over_all_trials_and_nothing_is_said_without_a_console(
    regression, capsys
):
    console = Console(file=(said := io.StringIO()), force_terminal=True, no_color=True, width=120)
    for where in (console, None):
        compare("sgdm", {"mine": regression}, steps=4, seeds=1, rates=3, console=where)
    assert "3/3 mine: sgdm" in said.getvalue()
    assert "trials, " not in said.getvalue()
    assert capsys.readouterr() == ("", "")


def test_a_pretrained_optimizer_is_called_by_its_name():
    assert [c.name for c in entries(["adamw", "base"])] == ["adamw", "base", "base, tuned"]


def test_a_finished_comparison_is_only_read_again(regression, tmp_path, monkeypatch):
    def again():
        optimizers = {"sgdm": "sgdm", "breaks": breaks, "nan": nan_from(2)}
        arguments = {"steps": 6, "seeds": 2, "rates": 5, "workdir": tmp_path}
        return compare(optimizers, {"mine": regression}, **arguments).to_dict()

    first = again()
    monkeypatch.setattr(Program, "train", lambda *_: pytest.fail("nothing is left to train"))
    assert again() == first


def test_a_comparison_is_written_as_reports_that_need_nothing_else(regression, tmp_path):
    found = compare(
        {"adamw": "adamw", "lion": "lion"},
        {"mine": regression, "bowl": quadratic(3)},
        steps=20,
        seeds=2,
        rates=3,
    )
    found.save(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == page.count("</svg>") == 4
    assert not re.search(r"""<(script|link|img|iframe)|(src|href)=["'](?!#)""", page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', page)) <= set(ids)
    text = (tmp_path / "report.md").read_text()
    for picture in re.findall(r"\]\((.*?)\)", text):
        assert (tmp_path / picture).read_bytes()[:4] == b"\x89PNG"
    for column in ("lowest loss on", "profile score", "failed on", "diverged"):
        assert f"<dt>{column}</dt>" in page
        assert f'data-column="{column}"' in page  # what a narrow screen shows before the cell
        assert f"- *{column}*: " in text
    assert page.count("<td>") == 3 * len(found.optimizers)
    data = json.loads((tmp_path / "results.json").read_text())
    assert [t["name"] for t in data["tasks"]] == ["mine", "bowl"]
    (lion,) = [o for o in data["optimizers"] if o["name"] == "lion"]
    assert lion["over"]["lion"] == {"mean": 1, "low": 1, "high": 1}
    for task in data["tasks"]:
        for optimizer in task["optimizers"]:
            assert len(optimizer["trials"]) == 3
            assert sum(trial["best"] for trial in optimizer["trials"]) == 1
            assert optimizer["state_bytes"] > 0
            assert optimizer["step_ms"] > 0
            assert optimizer["curve"]["steps"] == list(range(20))
            assert len(optimizer["curve"]["loss"]) == 20
    lion, adamw = (
        next(o for o in data["tasks"][0]["optimizers"] if o["name"] == name)
        for name in ("lion", "adamw")
    )
    assert lion["state_bytes"] < 0.7 * adamw["state_bytes"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizers": ["adan", "adamm"]}, "'adamm'"),
        ({"optimizers": []}, "no optimizers"),
        ({"optimizers": ["adam", "adam"]}, "two optimizers are called 'adam'"),
        ({"optimizers": ["nowhere:make"]}, "'nowhere'"),
        ({"optimizers": ["optax:adamm"]}, "'adamm'"),
        ({"optimizers": ["none.safetensors"]}, "'none.safetensors'"),
        ({"optimizers": {"x": 3}}, "x: "),
        ({"tasks": []}, "no tasks"),
        ({"tasks": ["quadratik"]}, "'quadratik'; did you mean quadratic"),
        ({"steps": 0}, "steps"),
        ({"steps": (3, 4)}, "2 steps and 1 tasks"),
        ({"seeds": 0}, "seeds"),
        ({"reference": "adamw"}, "reference 'adamw'"),
        ({"measure": "loss"}, "measure 'loss'"),
    ],
)
def test_mistakes_are_one_line(change, words):
    given = {"optimizers": ["adam"], "tasks": ["quadratic"], "steps": 3} | change
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        compare(**given)
    assert "\n" not in str(caught.value)


def test_functions_by_name_are_tuned_as_others(regression):
    found = compare(["optax:adabelief"], {"mine": regression}, steps=5, seeds=1, rates=3)
    assert found.optimizers == ("adabelief",)
    assert len(found.outcomes["mine", "adabelief"].trials) == 3

"""The results as files: results.json, report.md with its pictures, report.html."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from lopt.base.atomic import replacing, write_atomically
from lopt.base.printed import in_markdown
from lopt.compare.figures import figures
from lopt.compare.html import page
from lopt.compare.results import Results
from lopt.compare.sentences import CAPTIONS, how, title, verdicts
from lopt.compare.statistics import Interval
from lopt.compare.tables import MEANINGS, on_task, over_all
from lopt.compare.trials import Trial

_POINTS = 100  # steps of a curve that are written


def write(results: Results, folder: Path) -> None:
    """Write the reports to a folder, each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = figures(results)
    save_pictures(pictures, folder)
    write_atomically(folder / "report.html", page(results, pictures))
    write_atomically(folder / "report.md", markdown(results, pictures))
    write_atomically(folder / "results.json", as_json(as_data(results)))


def save_pictures(pictures: Mapping[str, Figure], folder: Path) -> None:
    """Write each picture to `NAME.png`, whole or not at all."""
    for name, figure in pictures.items():
        with replacing(folder / f"{name}.png") as partial:
            figure.savefig(partial, dpi=150, format="png")


def as_json(data: dict[str, Any]) -> str:
    r"""Plain data as JSON, a list of numbers on one line.

    >>> as_json({"a": [1, 2], "b": []})
    '{\n "a": [1, 2],\n "b": []\n}\n'
    """
    text = json.dumps(data, indent=1, allow_nan=False)
    # No text holds a line break, so that these brackets are those of a list.
    return re.sub(r"\[\n[^][{}\"]*\]", lambda m: f"[{' '.join(m[0][1:-1].split())}]", text) + "\n"


def as_data(results: Results) -> dict[str, Any]:
    """Plain data; a number that is not finite is None."""
    return {
        "reference": results.reference,
        "measure": results.measure,
        "seeds": results.seeds,
        "trials": results.budget,
        "optimizers": [
            {
                "name": name,
                "kind": results.kinds[name],
                "sha256": results.digests.get(name, ""),
                **_plain(standing._asdict()),
                "over": {other: _plain(found[name]) for other, found in results.over.items()},
            }
            for name, standing in results.standings.items()
        ],
        "tasks": [
            {
                "name": task,
                "steps": steps,
                "source": results.sources[task],
                "optimizers": [_outcome(results, task, name) for name in results.optimizers],
            }
            for task, steps in results.steps.items()
        ],
    }


def markdown(results: Results, pictures: Iterable[str]) -> str:
    """The report as a page of Markdown, its pictures as `NAME.png` beside it."""
    lines = [f"# {in_markdown(title(results))}", ""]
    lines += [f"- {in_markdown(sentence)}" for sentence in verdicts(results)]
    lines += ["", *table(*over_all(results)), "", how(results), ""]
    lines += [*(f"- *{name}*: {meaning}" for name, meaning in MEANINGS.items()), ""]
    for name in pictures:
        lines += [f"![{CAPTIONS[name]}]({name}.png)", "", CAPTIONS[name], ""]
    for task, steps in results.steps.items():
        about = in_markdown(f"{steps} steps. {results.sources[task]}")
        lines += [f"## {in_markdown(task)}", "", about, "", *table(*on_task(results, task)), ""]
    return "\n".join(lines)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(in_markdown(cell) for cell in row) + " |" for row in cells]


def _outcome(results: Results, task: str, name: str) -> dict[str, Any]:
    outcome, best = results.outcomes[task, name], results.best(task, name)
    return {
        "name": name,
        "error": outcome.error,
        "at_edge": outcome.at_edge,
        "speedup": _plain(results.on_task(task, name)),
        "speedup_per_seed": _plain(results.speedups(task, name)),
        "step_ms": _plain(outcome.step_ms),
        "state_bytes": outcome.state_bytes,
        "trials": [_trial(trial, trial is best) for trial in outcome.trials],
        "curve": _thinned(best.curves.mean(0)) if best else None,
    }


def _trial(trial: Trial, is_best: bool) -> dict[str, Any]:
    return {
        **trial.setting._asdict(),
        "best": is_best,
        "mean_loss": _plain(trial.mean_losses),
        "final_loss": _plain(trial.final_losses),
        "diverged": [bool(d) for d in trial.diverged],
        **{f"held_out_{k}": _plain(v) for k, v in trial.metrics.items()},
    }


def _thinned(curve: Float[np.ndarray, " steps"]) -> dict[str, Any]:
    """Some steps of a curve, evenly spaced, its first and its last among them."""
    steps = np.unique(np.linspace(0, len(curve) - 1, _POINTS).round().astype(int))
    return {"steps": steps.tolist(), "loss": _plain(curve[steps])}


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, int | str):
        return value
    if np.ndim(value):
        return [_plain(v) for v in value]
    return float(f"{value:.6g}") if np.isfinite(value) else None

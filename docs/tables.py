"""The tables of README.md and docs/ that are made of the results.json of a comparison.

python docs/tables.py

writes each between its marks, `<!-- table NAME -->` and `<!-- end of table -->`, where NAME is one
of `TABLES`. A test fails if one is not as it would be written. Other tables are older
than results.json, or from no comparison; they have no marks.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lopt.compare.report import table
from lopt.compare.statistics import Interval
from lopt.compare.tables import interval, with_error
from lopt.compare.trials import Setting

ROOT = Path(__file__).parents[1]

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
"""Pages that may have tables."""

NAMES = {
    "adamw": "AdamW, tuned",
    "muon": "Muon, tuned",
    "base": "base, untuned",
    "base, tuned": "base, tuned",
    "untrained": "its rule before meta-training, tuned",
}
"""The names of rows of held-out tasks."""

_MARKED = re.compile(r"(<!-- table ([\w-]+) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def results(folder: str) -> dict[str, Any]:
    """The results of a comparison whose report stands in a folder of docs/."""
    return json.loads((ROOT / "docs" / folder / "results.json").read_text())


def heldout() -> list[str]:
    """Speedups over the held-out tasks."""
    found = results("heldout")
    tasks = len(found["tasks"])
    header = (
        "optimizer",
        "times as fast as tuned AdamW, in steps",
        "as tuned Muon, in steps",
        "as tuned AdamW, in time",
        "lowest final loss",
    )
    rows = [
        (
            NAMES[o["name"]],
            _interval(o["speedup"]),
            _interval(o["over"]["muon"]),
            _interval(o["in_time"]),
            f"{o['best_on']} of {tasks}",
        )
        for o in _fastest_first(found["optimizers"], "speedup")
    ]
    return table(header, rows)


def heldout_losses() -> list[str]:
    """The final losses of each held-out task, and the best schedule of tuned optimizers."""
    found = results("heldout")
    names = [o["name"] for o in found["optimizers"]]
    header = ("task", "steps", *(NAMES[name] for name in names))
    return table(header, [_losses(task, names) for task in found["tasks"]])


def quickstart() -> list[str]:
    """The demo's one task."""
    found = results("quickstart")
    (task,) = found["tasks"]
    header = (
        "optimizer",
        "times as fast as AdamW, in steps",
        "final loss",
        "held-out accuracy",
        "best setting",
    )
    rows = []
    for entry in _fastest_first(task["optimizers"], "speedup"):
        best = _best(entry)
        setting = Setting(best["learning_rate"], best["schedule"])
        rows.append(
            (
                entry["name"],
                _interval(entry["speedup"]),
                with_error(np.array(best["final_loss"])),
                f"{100 * np.mean(best['held_out_accuracy']):.1f} %",
                str(setting).replace("_", " "),
            )
        )
    return table(header, rows)


TABLES: Mapping[str, Callable[[], list[str]]] = {
    "heldout": heldout,
    "heldout-losses": heldout_losses,
    "quickstart": quickstart,
}
"""The lines of each table, by its name."""


def rendered(text: str) -> str:
    """A page with its tables written anew.

    Raises:
      KeyError: for the name of a table that is not known.
    """

    def written(found: re.Match) -> str:
        lines = "\n".join(TABLES[found[2]]())
        return f"{found[1]}\n{lines}\n\n{found[4]}"

    return _MARKED.sub(written, text)


def main() -> None:
    """Write the tables of all pages."""
    for page in PAGES:
        text = page.read_text()
        if (new := rendered(text)) != text:
            page.write_text(new)
            print(f"wrote the tables of {page.relative_to(ROOT)}")


def _losses(task: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    entries = {entry["name"]: entry for entry in task["optimizers"]}
    cells = []
    for name in names:
        best = _best(entries[name])
        loss, schedule = with_error(np.array(best["final_loss"])), best["schedule"]
        cells.append(f"{loss}, {schedule.replace('_', ' ')}" if schedule else loss)
    return (f"`{task['name']}`", str(task["steps"]), *cells)


def _fastest_first(rows: Iterable[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -row[by]["mean"])


def _best(entry: Mapping[str, Any]) -> dict[str, Any]:
    return next(trial for trial in entry["trials"] if trial["best"])


def _interval(found: Mapping[str, float | None]) -> str:
    known = {k: float("nan") if v is None else v for k, v in found.items()}
    return "1" if set(known.values()) == {1.0} else interval(Interval(**known))


if __name__ == "__main__":
    main()

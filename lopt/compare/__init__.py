"""Optimizers beside each other: every one tuned alike, in tables and pictures.

`comparison.py` tunes entries (`entries.py`, `baselines.py`) on one task after another (`sweep.py`).
Each is tried at the settings of a grid (`grid.py`); its training runs (`runs.py`) leave trials
(`trials.py`), which a workdir stores (`store.py`). The results are data (`results.py`); tables,
sentences and figures are functions of them, and reports are made of these.
"""

from lopt.compare.baselines import BASELINES, Baseline
from lopt.compare.comparison import Comparison, compare
from lopt.compare.controls import tensor_normalized_adam
from lopt.compare.entries import Entry, entries
from lopt.compare.grid import Budget, Search
from lopt.compare.kl_soap import kl_soap, scale_by_kl_soap
from lopt.compare.muon import muon, muon_two_rates
from lopt.compare.normuon import normuon
from lopt.compare.results import Results, Standing
from lopt.compare.soap import scale_by_soap, soap

__all__ = [
    "BASELINES",
    "Baseline",
    "Budget",
    "Comparison",
    "Entry",
    "Results",
    "Search",
    "Standing",
    "compare",
    "entries",
    "kl_soap",
    "muon",
    "muon_two_rates",
    "normuon",
    "scale_by_kl_soap",
    "scale_by_soap",
    "soap",
    "tensor_normalized_adam",
]

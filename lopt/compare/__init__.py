"""Optimizers beside each other: every one tuned alike, in tables and pictures."""

from lopt.compare.baselines import BASELINES, Baseline
from lopt.compare.comparison import Comparison, compare
from lopt.compare.controls import tensor_normalized_adam
from lopt.compare.entries import Entry, entries
from lopt.compare.grid import Budget, Search
from lopt.compare.muon import muon
from lopt.compare.results import Results, Standing

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
    "muon",
    "tensor_normalized_adam",
]

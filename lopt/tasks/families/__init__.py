"""Families: distributions over tasks of one shape, each a task around a task.

A family derives from `Family` and draws in `init`: it changes params, or what the run sees of the
data. If it needs what it drew later on, it derives from `DrawingFamily`. Its function is added to
`TASKS`, in `lopt/tasks/registry.py`.
"""

from lopt.tasks.families.data import (
    DataSubset,
    InputScale,
    LabelNoise,
    LabelSubset,
    data_subset,
    input_scale,
    label_noise,
    label_subset,
)
from lopt.tasks.families.family import Drawn, Family
from lopt.tasks.families.weights import InitialScale, Reparametrize, initial_scale, reparametrize

__all__ = [
    "DataSubset",
    "Drawn",
    "Family",
    "InitialScale",
    "InputScale",
    "LabelNoise",
    "LabelSubset",
    "Reparametrize",
    "data_subset",
    "initial_scale",
    "input_scale",
    "label_noise",
    "label_subset",
    "reparametrize",
]

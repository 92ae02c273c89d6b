"""Families: distributions over tasks of one shape, each a task around a task."""

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
from lopt.tasks.registry import TASKS

# They are added here, and not in the registry, because a family builds the task that it varies
# from the registry. `lopt.tasks` imports this package, so that no name is ever missing.
TASKS.update(
    label_subset=label_subset,
    data_subset=data_subset,
    label_noise=label_noise,
    input_scale=input_scale,
    initial_scale=initial_scale,
    reparametrize=reparametrize,
)

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

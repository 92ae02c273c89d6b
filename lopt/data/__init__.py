"""Data sets that inner tasks draw from."""

from lopt.data.dataset import Dataset, Examples
from lopt.data.digits import digits
from lopt.parts import Parts

DATASETS = Parts("data set", digits=digits)
"""The data sets that a task can name."""

__all__ = ["DATASETS", "Dataset", "Examples", "digits"]

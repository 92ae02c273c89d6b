"""Data sets that inner tasks draw from."""

from lopt.data.dataset import Dataset, Examples
from lopt.data.digits import digits

DATASETS = {"digits": digits}
"""The data sets that a task can name."""

__all__ = ["DATASETS", "Dataset", "Examples", "digits"]

"""Handwritten digits at 8×8 that scikit-learn carries: real data, no download."""

import numpy as np

from lopt.data.dataset import Dataset
from lopt.data.images import standardize


def digits() -> Dataset:
    """The 1,797 digits of the UCI set (Alpaydin & Kaynak, 1998), a fifth of them held out.

    Returns:
      Inputs of shape (8, 8, 1), grey values less the training mean over the training deviation,
      both scalars; the split is stratified and always the same.
    """
    # imported when it is used: it takes a third of the time in which a command starts
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.2, stratify=y, random_state=0
    )
    x_train, x_test = standardize(x_train, x_test)
    return Dataset.of((x_train, y_train), (x_test, y_test), 10, "digits of scikit-learn")

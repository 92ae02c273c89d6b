"""Handwritten digits at 8×8 that scikit-learn carries: real data, no download."""

import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from lopt.data.dataset import Dataset, Examples


def digits() -> Dataset:
    """The 1,797 digits of the UCI set (Alpaydin & Kaynak, 1998), a fifth of them held out.

    Returns:
      Inputs of shape (8, 8, 1), grey values less the training mean over the training deviation,
      both scalars; the split is stratified and always the same.
    """
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype(np.float32)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y.astype(np.int32), test_size=0.2, stratify=y, random_state=0
    )
    mean, deviation = x_train.mean(), x_train.std()

    def examples(x: np.ndarray, y: np.ndarray) -> Examples:
        return Examples(jnp.asarray((x - mean) / deviation), jnp.asarray(y))

    return Dataset(examples(x_train, y_train), examples(x_test, y_test), classes=10)

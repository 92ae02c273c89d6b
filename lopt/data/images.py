"""Preprocessing of images: grey, resize, standardize."""

import numpy as np
from jaxtyping import Float, UInt8

from lopt.base.checks import integer
from lopt.base.errors import UserError

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601)."""

_CHUNK = 1024

Images = Float[np.ndarray, "images height width channels"]


def preprocess(
    images: UInt8[np.ndarray, "images height width channels"],
    side: int | None = None,
    grey: bool = False,
) -> Images:
    """Images as float32 in [0, 1], grey or not, averaged down to side × side if a side is given.

    They have one or three channels; a side that they do not have is refused.
    """
    height, width = images.shape[1:3]
    if side is not None and not integer(1, min(height, width)).holds(side):
        raise UserError(
            f"images of {height}×{width} cannot be resized to side={side!r}; "
            f"take a side from 1 to {min(height, width)}"
        )
    parts = []
    for first in range(0, len(images), _CHUNK):
        part = images[first : first + _CHUNK].astype(np.float32) / 255
        part = to_grey(part) if grey else part
        parts.append(part if side is None else resize(part, side))
    return np.concatenate(parts)


def to_grey(images: Images) -> Images:
    """Three channels as one grey value; one channel stays."""
    if images.shape[-1] == 1:
        return images
    return images @ np.asarray(LUMA, images.dtype)[:, None]


def resize(images: Images, side: int) -> Images:
    """Averages over side × side equal areas, which may cut through pixels."""
    rows, columns = (area_weights(n, side).astype(images.dtype) for n in images.shape[1:3])
    return np.einsum("rh,nhwk,cw->nrck", rows, images, columns, optimize=True)


def area_weights(size: int, new_size: int) -> Float[np.ndarray, "new_size size"]:
    """The fraction of each new pixel that each old one covers, along one axis; rows sum to one."""
    old = np.arange(size + 1) / size
    new = np.arange(new_size + 1) / new_size
    overlap = np.minimum(new[1:, None], old[1:]) - np.maximum(new[:-1, None], old[:-1])
    return np.maximum(overlap, 0) * new_size


def standardize(train: Images, test: Images) -> tuple[Images, Images]:
    """Both less the training mean, over the training deviation; both are scalars."""
    mean, deviation = train.mean(dtype=np.float64), train.std(dtype=np.float64)
    # images that are all alike have no deviation to divide by
    mean, deviation = np.float32(mean), np.float32(max(deviation, 1e-8))
    return (train - mean) / deviation, (test - mean) / deviation

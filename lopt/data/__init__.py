"""Data that inner tasks draw from: labelled images, and text."""

from functools import partial

from lopt.base.parts import Parts
from lopt.data.corpus import Corpus, Window
from lopt.data.dataset import Dataset, Examples, View
from lopt.data.embedded import digits, photos
from lopt.data.text import text
from lopt.data.tfds import tfds_images, tfds_text
from lopt.data.tokens import TOKENIZERS

DATASETS = Parts(
    "data set",
    Dataset,
    digits=digits,
    photos=photos,
    mnist=partial(tfds_images, "mnist"),
    fashion_mnist=partial(tfds_images, "fashion_mnist"),
    cifar10=partial(tfds_images, "cifar10"),
    svhn_cropped=partial(tfds_images, "svhn_cropped"),
    tfds=tfds_images,
)
"""The labelled images that a task can name; `tfds(dataset='kmnist')` is any other set."""

TEXTS = Parts("text", Corpus, text=text, lm1b=partial(tfds_text, "lm1b"), tfds=tfds_text)
"""The texts that a task can name; `tfds(dataset='wiki40b/en')` is any other set."""

__all__ = [
    "DATASETS",
    "TEXTS",
    "TOKENIZERS",
    "Corpus",
    "Dataset",
    "Examples",
    "View",
    "Window",
    "digits",
    "photos",
    "text",
    "tfds_images",
    "tfds_text",
]

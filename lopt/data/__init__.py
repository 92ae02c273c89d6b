"""Data that inner tasks draw from: labelled images, and text."""

from lopt.data.corpus import Corpus, Window
from lopt.data.dataset import Dataset, Examples, View
from lopt.data.digits import digits
from lopt.data.photos import photos
from lopt.data.text import text
from lopt.data.tokens import TOKENIZERS
from lopt.parts import Parts

DATASETS = Parts("data set", digits=digits, photos=photos)
"""The labelled images that a task can name."""

TEXTS = Parts("text", text=text)
"""The texts that a task can name."""

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
]

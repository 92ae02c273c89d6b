"""Text to integers.

A tokenizer is called with the training and the held-out text, and returns the tokens of both and
how many different ones there are. What it learns, such as an alphabet, it learns from the former.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from lopt.base.checks import integer
from lopt.base.parts import Parts

Ids = Int[np.ndarray, " tokens"]


@dataclass(frozen=True)
class Bytes:
    """The bytes of the text in UTF-8; the vocabulary is 256.

    >>> Bytes()("né", "a")[0].tolist()
    [110, 195, 169]
    """

    def __call__(self, train: str, test: str) -> tuple[Ids, Ids, int]:
        return _from_bytes(train), _from_bytes(test), 256


@dataclass(frozen=True)
class Characters:
    """Characters, the most frequent ones of the training text; token 0 is any other.

    The limit is that of the vocabulary.

    >>> train, test, vocabulary = Characters(limit=3)("abracadabra", "bad")
    >>> train.tolist(), test.tolist(), vocabulary
    ([1, 2, 0, 1, 0, 1, 0, 1, 2, 0, 1], [2, 1, 0], 3)
    """

    limit: int = 256

    def __call__(self, train: str, test: str) -> tuple[Ids, Ids, int]:
        return _most_frequent(train, test, self.limit)


@dataclass(frozen=True)
class Words:
    """Words and single punctuation marks, the most frequent ones; token 0 is any other.

    >>> train, test, vocabulary = Words(limit=3)("the cat, the dog, the end", "a dog, the end")
    >>> train.tolist(), test.tolist(), vocabulary
    ([1, 0, 2, 1, 0, 2, 1, 0], [0, 0, 2, 1, 0], 3)
    """

    limit: int = 4096

    def __call__(self, train: str, test: str) -> tuple[Ids, Ids, int]:
        return _most_frequent(_words(train), _words(test), self.limit)


TOKENIZERS = Parts("tokenizer", bytes=Bytes, characters=Characters, words=Words)
"""The tokenizers that a text can name."""


def _from_bytes(text: str) -> Ids:
    return np.frombuffer(text.encode(), np.uint8)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def _most_frequent(train: Sequence[str], test: Sequence[str], limit: int) -> tuple[Ids, Ids, int]:
    limit = integer(2)("the limit of a vocabulary", limit)
    counts = Counter(train)
    frequent = sorted(counts, key=lambda token: (-counts[token], token))[: limit - 1]
    ids = {token: i for i, token in enumerate(frequent, start=1)}
    vocabulary = len(frequent) + 1
    dtype = np.min_scalar_type(vocabulary - 1)

    def encode(tokens: Iterable[str]) -> Ids:
        return np.fromiter((ids.get(t, 0) for t in tokens), dtype)

    return encode(train), encode(test), vocabulary

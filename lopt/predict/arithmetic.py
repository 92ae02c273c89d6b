"""Sums, character by character: "15+20=" is answered by "35" and the end token."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int

from lopt.base.checks import integer
from lopt.base.errors import UserError

CHARACTERS = "0123456789+="
"""The characters of questions and answers, each the token of its place here."""

END, BLANK = len(CHARACTERS), len(CHARACTERS) + 1
"""The token after an answer, and the one before it."""

TOKENS = len(CHARACTERS) + 2
"""The number of tokens."""

_FEWEST, _MOST = 4, 1000
"""Numbers: of fewer there is nothing to generalize to, of more a million sums, all in memory."""


class Sums(NamedTuple):
    """Tokens of questions (a number, plus, a number, equals) and of answers (a number, end)."""

    questions: Int[np.ndarray | Array, "sums question"]
    answers: Int[np.ndarray | Array, "sums answer"]

    def take(self, index: Int[np.ndarray, " some"]) -> "Sums":
        """Some of them."""
        return Sums(self.questions[index], self.answers[index])


def all_sums(numbers: int) -> Sums:
    """The sums of all ordered pairs of the numbers from 0 to `numbers` - 1: 4 to 1000 numbers.

    Numbers have leading zeros, so that all questions are of one length, and all answers.

    >>> sums = all_sums(20)
    >>> sums.questions.shape, text(sums.questions[20 * 15 + 1]), text(sums.answers[20 * 15 + 1])
    ((400, 6), '15+01=', '16')
    """
    numbers = integer(_FEWEST, _MOST)("numbers", numbers)
    pairs = [(a, b) for a in range(numbers) for b in range(numbers)]
    places, longer = len(str(numbers - 1)), len(str(2 * numbers - 2))
    questions = [_tokens(f"{a:0{places}}+{b:0{places}}=") for a, b in pairs]
    answers = [[*_tokens(f"{a + b:0{longer}}"), END] for a, b in pairs]
    return Sums(np.array(questions, np.int32), np.array(answers, np.int32))


def hold_out(sums: Sums, unseen: int, seed: int) -> tuple[Sums, Sums]:
    """Sums in random order, half or more to train on, and so many that no network trains on."""
    total = len(sums.questions)
    if not integer(1, total // 2).holds(unseen):
        raise UserError(f"unseen sums must be 1 to {total // 2} of the {total}, not {unseen!r}")
    order = np.random.default_rng(seed).permutation(total)
    return sums.take(order[unseen:]), sums.take(order[:unseen])


def text(tokens: Int[np.ndarray, " tokens"]) -> str:
    """Tokens as characters, without blanks and ends."""
    return "".join(CHARACTERS[t] for t in tokens if t < len(CHARACTERS))


def _tokens(characters: str) -> list[int]:
    return [CHARACTERS.index(c) for c in characters]

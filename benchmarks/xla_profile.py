"""The time of each operation of a compiled program, by XLA's profiler."""

import collections
import glob
import gzip
import json
import re
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import jax

_CONTAINERS = re.compile(r"(call|jit_|while|conditional)")
"""Operations that contain others: their time would count twice."""


class Operation(NamedTuple):
    """One operation of a program.

    Attributes:
      elements: how many numbers it writes.
      source: where it comes from in the program, as JAX names it.
      ms: how long it took in one run, all its executions together.
      executions: how often it ran in one run.
    """

    elements: int
    source: str
    ms: float
    executions: float


def profile(hlo: str, run: Callable[[], object], runs: int) -> list[Operation]:
    """The operations of a program that ran.

    Args:
      hlo: the text of the compiled program.
      run: runs it once and returns its arrays.
      runs: how often it is run; the lower quartile of each operation's executions counts, which
        other work on the machine disturbs least.
    """
    known = _operations(hlo)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(runs):
                jax.block_until_ready(run())
        (file,) = glob.glob(f"{folder}/**/*.trace.json.gz", recursive=True)
        with gzip.open(file) as trace:
            events = json.load(trace)["traceEvents"]
    micros = collections.defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and event["name"] in known:
            micros[event["name"]].append(event["dur"])
    return [
        Operation(*known[name], sorted(m)[len(m) // 4] * len(m) / runs / 1e3, len(m) / runs)
        for name, m in micros.items()
    ]


def sums(operations: list[Operation], part: Callable[[Operation], str]) -> dict[str, float]:
    """Milliseconds of each part of a program, the longest first."""
    parts: dict[str, float] = collections.Counter()
    for operation in operations:
        parts[part(operation)] += operation.ms
    return dict(sorted(parts.items(), key=lambda p: -p[1]))


def _operations(hlo: str) -> dict[str, tuple[int, str]]:
    found = {}
    for line in hlo.splitlines():
        match = re.match(r"\s*(?:ROOT )?%(\S+) = \w+\[([\d,]*)\]", line)
        if match and not _CONTAINERS.match(match[1]):
            source = re.search(r'op_name="([^"]*)"', line)
            elements = 1
            for n in filter(None, match[2].split(",")):
                elements *= int(n)
            found[match[1]] = (elements, source[1] if source else "")
    return found

"""Symbols of axes, and their unification.

Each axis of each value has a symbol: what permutes it. An `Atom` is a set of indices that may be
permuted freely, a `Product` several axes merged in row-major order, a `Sum` several axes
concatenated. Equations say which symbols are the same, and refine atoms: a reshape binds an atom
to a product, a slice to a sum. Where two demands on a symbol do not agree, its atoms are *fixed*:
their indices stay where they are. Each step only takes symmetries away, so whatever the order of
the equations, what is left satisfies all of them. An axis along which a value does not vary, as of
a broadcast scalar, has the symbol `None`: it may be permuted in any way.

What holds at any time:

- A symbol has the size of its axis, whatever it is refined to.
- An atom is bound at most once, to a symbol of its size that does not contain it; `resolve` follows
  these bindings. Whoever holds a symbol therefore sees every later refinement of it.
- An atom that is fixed stays fixed. Binding one carries `fixed` and `read` over. Cutting one does
  not bind it: its parts are fixed, too, and that is all there is to say.

`split` and `cut` refine an axis, and all that shares its symbol. Of an axis of 12 indices, reshaped
to (2, 6) and sliced after the fourth index of the six:

>>> axis = Atom(12)
>>> heads, width = split(axis, [2, 6])
>>> first, rest = cut(width, [4, 2])
>>> [size(a) for a in atoms(axis)], resolve(axis).factors[0] is heads
([2, 4, 2], True)

Two demands that do not agree fix the axis: 12 indices are (2, 6), and cannot be (4, 3) as well,
since the 6, which would have to be (2, 3), is cut after its fourth index.

>>> _ = split(axis, [4, 3])
>>> {a.fixed for a in atoms(axis)}
{'reshaped'}

A reshape does not split a symbol at once. Fused projections are reshaped to (3, heads, width) and
then taken apart along the first axis; split into factors, query, key and value would have to agree
on heads and width, although they need not. So a reshape makes a `Table`, whose factors are found
when something looks at one of them, and a slice of its rows is a cut of the whole symbol.

>>> fused = Atom(3 * 4)
>>> table = Table(fused, [3, 4])
>>> settle(table.factors)  # a value with all factors, each once: nothing to do
>>> table.is_whole
True
>>> settle(table.factors[1:])  # a value with some of them: now they are needed
>>> [size(a) for a in atoms(fused)]
[3, 4]
"""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Union

from lopt.symmetry.axes import Product, Sum, fold

Resolved = Union["Atom", Product, Sum]

Symbol = Union[Resolved, "Factor"]


class Atom:
    """A set of indices that is permuted as one."""

    __slots__ = ("bound", "causes", "fixed", "read", "role", "size")

    def __init__(
        self,
        size: int,
        fixed: str = "",
        role: str = "",
        read: bool = False,
        causes: Iterable[Hashable] = (),
    ):
        self.size = size
        self.bound: Symbol | None = None  # the symbol that this atom turned out to be
        self.fixed = fixed  # why the indices must stay where they are; empty if they need not
        self.causes = set(causes) or ({fixed} if fixed else set())  # `fixed` is the first
        self.role = role  # what the atom is used as, for its name
        self.read = read  # whether the function depends on it

    def part(self, size: int) -> "Atom":
        """A new atom of another size that inherits what is known of this one."""
        return Atom(size, self.fixed, self.role, self.read, self.causes)


class Table:
    """A symbol seen as several axes of these sizes, in row-major order, and not yet split."""

    __slots__ = ("_found", "factors", "sizes", "symbol")

    def __init__(self, symbol: Symbol, sizes: Sequence[int]):
        self.symbol = symbol
        self.sizes = tuple(sizes)
        self.factors = tuple(Factor(self, i) for i in range(len(sizes)))
        self._found: list[Symbol] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing has looked at a single factor so far."""
        return self._found is None

    def split(self) -> list[Symbol]:
        """The symbol of each axis."""
        if self._found is None:
            self._found = split(self.symbol, self.sizes)
        return self._found


class Factor:
    """One axis of a table."""

    __slots__ = ("index", "table")

    def __init__(self, table: Table, index: int):
        self.table = table
        self.index = index

    @property
    def size(self) -> int:
        """How many indices it has."""
        return self.table.sizes[self.index]


def resolve(symbol: Symbol) -> Resolved:
    """The outermost layer of what a symbol is by now."""
    while True:
        if isinstance(symbol, Factor):
            symbol = symbol.table.split()[symbol.index]
        elif isinstance(symbol, Atom) and symbol.bound is not None:
            symbol = symbol.bound
        else:
            return symbol


def size(symbol: Symbol) -> int:
    """How many indices a symbol has."""
    return fold(symbol, lambda leaf: leaf.size, math.prod, sum)


def atoms(symbol: Symbol) -> list[Atom]:
    """The unbound atoms in a symbol, in order."""
    found, waiting = [], [symbol]
    while waiting:
        top = resolve(waiting.pop())
        if isinstance(top, Atom):
            found.append(top)
        else:
            waiting += reversed(top.factors if isinstance(top, Product) else top.parts)
    return found


def fix(symbol: Symbol | None, why: str, causes: Iterable[Hashable] = ()) -> None:
    """Declare that the indices of a symbol must stay where they are, for one or more causes."""
    for atom in [] if symbol is None else atoms(symbol):
        atom.fixed = atom.fixed or why
        atom.causes |= set(causes) or {why}


def mark_read(symbol: Symbol | None) -> None:
    """Declare that the function depends on a symbol."""
    if isinstance(symbol, Factor) and symbol.table.is_whole:
        symbol = symbol.table.symbol
    if symbol is not None:
        for atom in atoms(symbol):
            atom.read = True


def factors(symbol: Symbol) -> list[Symbol]:
    """The factors of a symbol, nested products flattened and those of size 1 left out."""
    symbol = resolve(symbol)
    if isinstance(symbol, Product):
        return [f for factor in symbol.factors for f in factors(factor)]
    return [symbol] if size(symbol) != 1 else []


def parts(symbol: Symbol) -> list[Symbol]:
    """The parts of a symbol, nested sums flattened."""
    found: list[Symbol] = []
    waiting = [symbol]
    while waiting:
        top = resolve(waiting.pop())
        if isinstance(top, Sum):
            waiting += reversed(top.parts)
        else:
            found.append(top)
    return found


def merge(symbols: Sequence[Symbol]) -> Symbol:
    """The symbol of several axes merged into one, in row-major order."""
    flat = [f for symbol in symbols for f in factors(symbol)]
    if not flat:
        return symbols[0] if symbols else Atom(1)
    return flat[0] if len(flat) == 1 else Product(tuple(flat))


def concatenate(symbols: Sequence[Symbol]) -> Symbol:
    """The symbol of several axes concatenated; empty ones are left out."""
    flat = [p for symbol in symbols for p in parts(symbol) if size(p)]
    return flat[0] if len(flat) == 1 else Sum(tuple(flat))


def unify(a: Symbol, b: Symbol) -> None:
    """Demand that two symbols of one size are permuted alike."""
    if a is b or (a := resolve(a)) is (b := resolve(b)):
        return
    if isinstance(b, Atom) and not isinstance(a, Atom):
        a, b = b, a
    if isinstance(a, Atom):
        _bind(a, b)
    elif type(a) is type(b):
        children, divide = (factors, _split) if isinstance(a, Product) else (parts, _cut)
        _unify_children(a, b, children, divide)
    else:
        product, total = (a, b) if isinstance(a, Product) else (b, a)
        pieces = _taken(product, [size(p) for p in parts(total)], _cut)
        if pieces is None:
            _disagree(a, b)
            return
        for piece, part in zip(pieces, parts(total), strict=True):
            unify(piece, part)


def _unify_children(
    a: Symbol, b: Symbol, children: Callable[[Symbol], list[Symbol]], divide: "Divide"
) -> None:
    """Unify the factors of two products, or the parts of two sums, divided where one is longer."""
    left, right = children(a), children(b)
    while left and right:
        m, n = size(left[0]), size(right[0])
        if m != n:
            longer = left if m > n else right
            pair = divide(longer[0], min(m, n))
            if pair is None:
                _disagree(a, b)
                return
            longer[:1] = pair
        unify(left.pop(0), right.pop(0))
        # What was unified may have refined what is left.
        left = [h for f in left for h in children(f)]
        right = [h for f in right for h in children(f)]


def _disagree(a: Symbol, b: Symbol) -> None:
    fix(a, "in conflict")
    fix(b, "in conflict")


def _bind(atom: Atom, to: Symbol) -> None:
    if atom.fixed:
        fix(to, atom.fixed, atom.causes)
    if atom.read:
        mark_read(to)
    if isinstance(to, Atom):
        to.role = to.role or atom.role
    atom.bound = to


def join(symbols: Sequence[Symbol | None]) -> Symbol | None:
    """Unify all symbols, and return the one that they have in common; `None` if all are."""
    known = [s for s in symbols if s is not None]
    for symbol in known[1:]:
        unify(known[0], symbol)
    return known[0] if known else None


def whole_table(symbol: Symbol | None, dims: Sequence[Symbol | None]) -> Table | None:
    """The unsplit table that `symbol` is a factor of, if `dims` have each of its factors once."""
    if not isinstance(symbol, Factor) or not symbol.table.is_whole:
        return None
    factors = symbol.table.factors
    here = [d for d in dims if isinstance(d, Factor) and d.table is symbol.table]
    return symbol.table if len(here) == len(factors) == len(set(here)) else None


def settle(dims: Sequence[Symbol | None]) -> None:
    """Split the tables of which a value has only some factors, or one of them twice.

    What is left unsplit is permuted as one: the value's factors together, by the table's symbol.
    """
    for symbol in dims:
        if isinstance(symbol, Factor) and whole_table(symbol, dims) is None:
            symbol.table.split()


def split(symbol: Symbol, sizes: Sequence[int]) -> list[Symbol]:
    """The factors of these sizes, in row-major order; if it has none, it and they are fixed."""
    return _taken(symbol, sizes, _split) or _fixed_instead(symbol, sizes, "reshaped")


def cut(symbol: Symbol, sizes: Sequence[int]) -> list[Symbol]:
    """The parts of these sizes; if it has none, it and they are fixed."""
    return _taken(symbol, sizes, _cut) or _fixed_instead(symbol, sizes, "sliced")


Divide = Callable[[Symbol, int], tuple[Symbol, Symbol] | None]
"""The first factor or part of a symbol, of a given size, and the rest; `None` if it has none."""


def _taken(symbol: Symbol, sizes: Sequence[int], divide: Divide) -> list[Symbol] | None:
    """The factors or parts of these sizes, which make up the symbol."""
    found, rest = [], symbol
    for n in sizes[:-1]:
        pair = divide(rest, n)
        if pair is None:
            return None
        found.append(pair[0])
        rest = pair[1]
    return [*found, rest]


def _fixed_instead(symbol: Symbol, sizes: Sequence[int], why: str) -> list[Symbol]:
    fix(symbol, why)
    return [Atom(n, why) for n in sizes]


def _split(symbol: Symbol, lead: int) -> tuple[Symbol, Symbol] | None:
    """Two factors, the first of this size."""
    symbol = resolve(symbol)
    trail, rest = divmod(size(symbol), lead)
    if rest:
        return None
    if lead == 1:
        return Atom(1), symbol
    if trail == 1:
        return symbol, Atom(1)
    if isinstance(symbol, Atom):
        both = symbol.part(lead), symbol.part(trail)
        symbol.bound = Product(both)
        return both
    if isinstance(symbol, Product):
        return _split_product(factors(symbol), lead)
    if any(size(p) % trail for p in parts(symbol)):
        return None
    pairs = [pair for p in parts(symbol) if (pair := _split(p, size(p) // trail))]
    if len(pairs) < len(parts(symbol)):
        return None
    first, *others = (inner for _, inner in pairs)
    for inner in others:
        unify(first, inner)
    return concatenate([outer for outer, _ in pairs]), first


def _split_product(flat: list[Symbol], lead: int) -> tuple[Symbol, Symbol] | None:
    i = 0
    while lead % size(flat[i]) == 0:
        lead //= size(flat[i])
        i += 1
        if lead == 1:
            return merge(flat[:i]), merge(flat[i:])
    pair = None if size(flat[i]) % lead else _split(flat[i], lead)
    return pair and (merge([*flat[:i], pair[0]]), merge([pair[1], *flat[i + 1 :]]))


def _cut(symbol: Symbol, at: int) -> tuple[Symbol, Symbol] | None:
    """The parts before and from an index."""
    symbol = resolve(symbol)
    if isinstance(symbol, Atom):
        both = symbol.part(at), symbol.part(symbol.size - at)
        if not symbol.fixed:
            symbol.bound = Sum(both)
        return both
    if isinstance(symbol, Product):
        first, *rest = factors(symbol)
        inner = math.prod(map(size, rest))
        pair = None if at % inner else _cut(first, at // inner)
        return pair and (merge([pair[0], *rest]), merge([pair[1], *rest]))
    flat = parts(symbol)
    i = 0
    while at >= size(flat[i]):
        at -= size(flat[i])
        i += 1
    if at == 0:
        return concatenate(flat[:i]), concatenate(flat[i:])
    pair = _cut(flat[i], at)
    return pair and (concatenate([*flat[:i], pair[0]]), concatenate([pair[1], *flat[i + 1 :]]))

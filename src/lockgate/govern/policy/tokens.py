"""A condition's text as tokens, and with which literals it compares a fact.

Apart from `condition`, which compiles and evaluates, because protocols read comparisons too: a name that their
backend does not have can be told before a rule never matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*)
      | (?P<string>[rR]?(?:\"{3}(?:[^\\]|\\.)*?\"{3}|'{3}(?:[^\\]|\\.)*?'{3}
                         |"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>\d[\w.]*)
      | (?P<sign>==|!=|&&|\|\||<=|>=|\S)""",
    re.VERBOSE | re.DOTALL,
)
_OVER_LISTS = frozenset({"all", "exists", "exists_one", "existsOne", "filter"})
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_EQUALS = ("==", "!=")


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `kind` is string, name, number or sign."""

    kind: str
    text: str


def tokens_of(source: str) -> list[Token]:
    """The tokens without comments."""
    return [Token(found.lastgroup or "", found.group()) for found in _TOKEN.finditer(source)
            if found.lastgroup != "comment"]


def conjuncts(source: str) -> list[str]:
    """The parts of a condition of which each has to hold: what `&&` joins outside of any bracket. The whole where it is no
    such condition; `||` and `? :` bind less (CEL's grammar).
    """
    found: list[str] = []
    depth = start = 0
    for token in _TOKEN.finditer(source):
        sign = token.group() if token.lastgroup == "sign" else ""
        if sign in _OPENING:
            depth += 1
        elif sign in _CLOSING:
            depth -= 1
        elif depth == 0 and sign in ("||", "?"):
            return [source]
        elif depth == 0 and sign == "&&":
            found.append(source[start:token.start()])
            start = token.end()
    return [*found, source[start:]]


def text(tokens: Sequence[Token], at: int) -> str:
    """The text of a token, "" where there is none."""
    return tokens[at].text if 0 <= at < len(tokens) else ""


def literal(tokens: Sequence[Token], at: int) -> str | None:
    """What the string at a place says; None where there is another thing, or one with escapes."""
    word = text(tokens, at)
    return word[1:-1] if word[:1] in ("'", '"') and "\\" not in word and word[:3] not in ('"""', "'''") else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A fact of `op` beside a literal. `is_whole` where the fact itself is compared (``op.verb == "x"``), not an element
    of it (``"x" in op.verbs``)."""

    fact: str
    literal: str
    is_whole: bool


def comparisons(tokens: Sequence[Token]) -> Iterator[Comparison]:
    """Every fact of `op` that stands directly beside a string: by ==, != or `in`, also as the variable of a macro."""
    elements: dict[str, str] = {}           # variable of a macro → the fact whose elements it stands for
    given: dict[str, list[str]] = {}        # … → the strings of a list that is written out
    for at in range(len(tokens)):
        name = text(tokens, at + 3)
        if not (text(tokens, at) == "." and text(tokens, at + 1) in _OVER_LISTS and text(tokens, at + 2) == "("):
            continue
        if text(tokens, at - 1) == "]":
            given[name] = _listed(tokens, at - 1)
        fact = _fact_before(tokens, at)
        if fact is not None:
            elements[name] = fact
    for fact, start, end in _facts(tokens):
        yield from (Comparison(fact, word, True) for word in _equals(tokens, start, end))
        if text(tokens, start - 1) == "in":
            word = literal(tokens, start - 2)
            for found in given.get(text(tokens, start - 2), []) if word is None else [word]:
                yield Comparison(fact, found, False)
        yield from (Comparison(fact, word, False) for word in _among(tokens, end))
    for at, token in enumerate(tokens):
        if token.kind == "name" and token.text in elements and text(tokens, at - 1) != ".":
            for word in (*_equals(tokens, at, at + 1), *_among(tokens, at + 1)):
                yield Comparison(elements[token.text], word, False)


def _facts(tokens: Sequence[Token]) -> Iterator[tuple[str, int, int]]:
    """(name, first token, token behind it) of each ``op.name`` and ``op["name"]``."""
    for at in range(len(tokens)):
        if text(tokens, at) != "op" or text(tokens, at - 1) == ".":
            continue
        if text(tokens, at + 1) == ".":
            yield text(tokens, at + 2), at, at + 3
        elif text(tokens, at + 1) == "[" and text(tokens, at + 3) == "]":
            yield literal(tokens, at + 2) or "", at, at + 4


def _fact_before(tokens: Sequence[Token], at: int) -> str | None:
    return next((fact for fact, _, end in _facts(tokens[max(at - 4, 0):at]) if end == min(at, 4)), None)


def _equals(tokens: Sequence[Token], start: int, end: int) -> Iterator[str]:
    """The strings that what stands from `start` to `end` is compared with by == and !=."""
    for sign, place in ((end, end + 1), (start - 1, start - 2)):
        word = literal(tokens, place)
        if text(tokens, sign) in _EQUALS and word is not None:
            yield word


def _among(tokens: Sequence[Token], end: int) -> Iterator[str]:
    """The strings of ``… in ["a", "b"]``."""
    if text(tokens, end) == "in" and text(tokens, end + 1) == "[":
        for at in range(end + 2, len(tokens)):
            if text(tokens, at) == "]":
                return
            word = literal(tokens, at)
            if word is not None:
                yield word


def _listed(tokens: Sequence[Token], end: int) -> list[str]:
    """The strings of a list that ends at `end`."""
    start = end
    while start > 0 and text(tokens, start) != "[":
        start -= 1
    return [word for at in range(start, end) if (word := literal(tokens, at)) is not None]

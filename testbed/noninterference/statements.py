"""Statements to compare, and where they come from: lists in `tests/data`, recordings, anything that yields them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

_DATA: Final = Path(__file__).parents[2] / "tests" / "data"
_UNSAFE: Final = frozenset(("copy to file", "copy to program", "load", "create extension"))

_OWN_TRANSACTION: Final = re.compile(
    r"(?:\A|;)\s*(?:begin|start|commit|end|abort|rollback|vacuum|notify|listen|discard|checkpoint|cluster"
    r"|(?:create|drop|alter)\s+(?:database|tablespace|subscription)|alter\s+system|prepare\s+transaction|reindex)\b"
    r"|\bconcurrently\b|\bpg_notify\b", re.IGNORECASE)
_WRITES: Final = re.compile(
    r"\b(?:insert|update|delete|merge|create|truncate|alter|drop|refresh|into|copy)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement string. With `parameters` or `is_binary` it goes as a single statement in the extended protocol."""

    sql: str
    name: str = ""
    parameters: tuple[str | None, ...] = ()
    is_binary: bool = False

    @property
    def has_own_transaction(self) -> bool:
        """Whether it cannot run inside a transaction that is rolled back afterwards, or says when one ends."""
        return _OWN_TRANSACTION.search(self.sql) is not None

    @property
    def may_write(self) -> bool:
        """Whether it may leave anything behind, even if it fails or is rolled back."""
        return _WRITES.search(self.sql) is not None

    @property
    def is_single(self) -> bool:
        """Whether it can go through the extended protocol: a guess that errs on the safe side."""
        return ";" not in self.sql.rstrip("; \n")

    def binary(self) -> Statement:
        """The same with binary results."""
        return replace(self, is_binary=True)


def shapes() -> list[Statement]:
    """The known leak shapes and our own, on the model SHAPES, without the unsafe ones."""
    return [statement for statement in _shapes() if statement.name not in _UNSAFE]


def unsafe_shapes() -> list[Statement]:
    """Those that reach out of the database: a refusal is all that is asked of them, and they are never run."""
    return [statement for statement in _shapes() if statement.name in _UNSAFE]


def _shapes() -> list[Statement]:
    known = json.loads((_DATA / "leak-shapes.json").read_text())["shapes"]
    own = json.loads((_DATA / "adversarial-shapes.json").read_text())["shapes"]
    pairs = [(shape["name"], shape["sql"]) for shape in known] + [(name, sql) for name, sql in own]
    return [Statement(sql, name) for name, sql in pairs]


def recording(path: Path) -> list[Statement]:
    """A file of statements: an empty line between two of them, lines that begin with `--` left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    blocks = re.split(r"\n\s*\n", "\n".join(lines))
    return [Statement(block.strip().rstrip(";"), f"{path.stem} {number}")
            for number, block in enumerate(blocks, 1) if block.strip()]


def written(statements: Iterable[Statement], about: Sequence[str]) -> str:
    """The text of a recording. Statements with empty lines in them lose those."""
    head = "".join(f"-- {line}\n" for line in about)
    return head + "".join("\n" + re.sub(r"\n\s*\n", "\n", statement.sql.strip()) + ";\n" for statement in statements)


def alternating(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Every other one with binary results, where that is possible."""
    for number, statement in enumerate(statements):
        yield statement.binary() if number % 2 and statement.is_single else statement

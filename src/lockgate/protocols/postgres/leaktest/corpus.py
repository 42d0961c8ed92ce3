"""The shapes and ordinary statements that come with the package, filled in for a ground.

Apart from `scratch` and `columns`, which say what they are filled with. Files are data (`shapes_*.json`, `benign.json`):
groups of ``[name, statement, …]``, or objects with flags and parameters. In braces stand ``{rel}`` and ``{col}`` (a
labelled column), ``{only}`` (a condition), ``{schema}`` and ``{other}``, and the forms of a guess: ``{guess}`` the
value, ``{head}`` its first and ``{tail}`` its last characters, ``{digits}`` its digits. A shape with a guess is
filled twice, with the right value and with a wrong one.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from lockgate.wire.leaktest import Shape, Shot

_HOLE: Final = re.compile(r"\{(rel|col|only|schema|other|guess|head|tail|digits)\}")
_GUESSES: Final = frozenset(("guess", "head", "tail", "digits"))
_PACKAGE: Final = "lockgate.protocols.postgres.leaktest"
_EDGE: Final = 5        # characters of a value that `{head}` and `{tail}` hold


@dataclass(frozen=True, slots=True)
class Template:
    """One entry of a file, not filled in."""

    name: str
    group: str
    statements: tuple[str, ...]
    parameters: tuple[tuple[str, ...], ...]
    writes: bool
    bare: bool
    stated: str = ""

    @property
    def holes(self) -> frozenset[str]:
        """What has to be filled in."""
        texts = (*self.statements, *(word for words in self.parameters for word in words))
        return frozenset(name for text in texts for name in _HOLE.findall(text))

    @property
    def is_only_read(self) -> bool:
        """It reads any labelled column, and needs nothing of the scratch ground."""
        needs = self.holes
        made = any("lk_" in statement for statement in self.statements)
        return "rel" in needs and not made and not self.writes and not self.bare and "schema" not in needs


def templates() -> tuple[Template, ...]:
    """All shapes, file by file in the order of their names."""
    return tuple(entry for name in _names("shapes_") for entry in _read(name))


def benign_templates() -> tuple[Template, ...]:
    """Ordinary statements."""
    return tuple(_read("benign.json"))


def _names(prefix: str) -> list[str]:
    return sorted(entry.name for entry in files(_PACKAGE).iterdir()
                  if entry.name.startswith(prefix) and entry.name.endswith(".json"))


def _read(name: str) -> Iterator[Template]:
    content = json.loads(files(_PACKAGE).joinpath(name).read_text(encoding="utf-8"))
    for group, entries in content["groups"].items():
        for entry in entries:
            yield _template(group, entry)


def _template(group: str, entry: list[str] | dict[str, Any]) -> Template:
    if isinstance(entry, list):
        return Template(entry[0], group, tuple(entry[1:]), (), writes=False, bare=False)
    statements = (entry["sql"],) if isinstance(entry["sql"], str) else tuple(entry["sql"])
    parameters = tuple(tuple(words) for words in entry.get("parameters", ()))
    return Template(entry["name"], group, statements, parameters, entry.get("writes", False), entry.get("bare", False),
                    entry.get("stated", ""))


# ---------------------------------------------------------------- filling in


def forms_of(value: str) -> dict[str, str]:
    """The forms of a guess; without ``digits`` where the value is not made of digits."""
    found = {"guess": value, "head": value[:_EDGE], "tail": value[-_EDGE:]}
    bare = re.sub(r"[^0-9A-Za-z]", "", value)
    if bare.isascii() and bare.isdigit():
        found["digits"] = bare
    return found


def wrong_for(value: str) -> str:
    """A value of the same form, greater and different in every digit and letter."""
    return "".join(_other(char) for char in value)


def _other(char: str) -> str:
    if char.isdigit() and char.isascii():
        return str((int(char) + 5) % 10) if int(char) >= 5 else str(int(char) + 4)
    return codecs.encode(char, "rot13")


def filled(template: Template, values: Mapping[str, str], value: str) -> Shape | None:
    """The shape, with `value` for its guesses; None where something is missing for it."""
    right = forms_of(value)
    if not template.holes <= set(values) | set(right):
        return None
    wrong = forms_of(wrong_for(value))
    is_guess = bool(template.holes & _GUESSES)
    return Shape(template.name, template.group, _shot(template, {**values, **right}, right if is_guess else {}),
                 _shot(template, {**values, **wrong}, wrong) if is_guess else None, template.writes, template.bare,
                 template.stated)


def _shot(template: Template, values: Mapping[str, str], guesses: Mapping[str, str]) -> Shot:
    def fill(text: str) -> str:
        return _HOLE.sub(lambda found: values[found[1]], text)

    return Shot(tuple(map(fill, template.statements)), tuple(tuple(map(fill, words)) for words in template.parameters),
                tuple(sorted(guesses.values(), key=len, reverse=True)))

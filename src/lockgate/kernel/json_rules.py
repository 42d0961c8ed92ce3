"""What `json_scan` asks while it reads: an automaton in tables, and questions to whoever made it.

Plain typed Python that mypyc compiles.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

LOOK_KEY: Final = 1
LOOK_TEXT: Final = 2
"""What `Rules.look` is asked for: a member's name; a string that may be a document itself."""


class JsonTooDeep(ValueError):
    """JSON that may be well formed, and is nested deeper or written longer than is looked at."""


class JsonTables:
    """The automaton. States are numbers from 0, a whole document's; every list has a place for each.

    `known` says of names (as written, without quotes) which state their members have; where it says nothing, and a name
    has one of `lengths` (bit n: n bytes; bit 62: more; -1: any) or is not plain ASCII, `Rules.member` is asked, which may
    add to it. All other names have the state in `others`. `elements` is the state of an array's elements, -1 where it
    depends on the index. `arrays`, `objects` and `scalars` say what hides a value of that kind (-1: nothing does),
    `inside` the state in an object, `alive` whether anything can still be hidden below (0: no). `fixed` has four places for
    what hides: what stands for a string, object or array, for a number, for true and false, and for null; where it is
    empty, `Rules.hide` is asked.
    """

    def __init__(self) -> None:
        self.known: list[dict[bytes, int]] = []
        self.others: list[int] = []
        self.elements: list[int] = []
        self.arrays: list[int] = []
        self.objects: list[int] = []
        self.scalars: list[int] = []
        self.inside: list[int] = []
        self.alive: list[int] = []
        self.fixed: list[bytes] = []
        self.lengths: int = 0


@mypyc_attr(allow_interpreted_subclasses=True)
class Rules:
    """What the scanner asks. `looks`: strings and numbers that are not hidden are looked at, where something was hit, or
    with `every` all of them; then nothing is fixed either.
    """

    def __init__(self, tables: JsonTables, looks: bool, every: bool) -> None:
        self.tables = tables
        self.looks = looks
        self.every = every

    def member(self, state: int, name: bytes) -> int:
        """The state of the member with this name (as written), in a container of `state`."""
        raise NotImplementedError

    def element(self, state: int, index: int) -> int:
        """The state of an element of an array of `state`."""
        raise NotImplementedError

    def hide(self, at: int, first: int, raw: bytes | None) -> bytes:
        """What takes the place of a value that `at` hides. `first` is its first byte, `raw` None if it is too long to hold."""
        raise NotImplementedError

    def look(self, raw: bytes, state: int, kind: int, name: bytes | None, above: bytes | None) -> bytes:
        """A string or number in its written form, or what takes its place; `name` is written before it, everything up
        to the end of an outer container stands under `above`."""
        raise NotImplementedError

    def hides_below(self, name: bytes) -> bool:
        """Whether everything under this name has to be looked at with it."""
        raise NotImplementedError

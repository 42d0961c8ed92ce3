r"""What PL/pgSQL's parser, without a catalogue, does not know of a DECLARE section or does not show.

Apart from `plpgsql`, which reads the tree that the parser gives: here the body is still text. The parser
(libpg_query) takes every type for a scalar, so that ``r customers%ROWTYPE`` cannot be assigned to by field;
such a variable is declared as `record` before it is asked. And it leaves out the default of a record,
which may call anything: a body with one is not read at all.

`hides_default` looks at every place where the name stands, in literals too, and so cannot overlook one. The
other two change the text; what they may mistake for a declaration lies in a literal, and a body whose text
was changed runs no literal (`plpgsql` refuses).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""
      (?P<skip>\s++|--[^\n\r]*+)
    | (?P<block>/\*)
    | (?P<literal>[eE]'(?:[^'\\]|\\.|'')*+'|'(?:[^']|'')*+')
    | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
    | (?P<word>"(?:[^"]|"")++"|[^\W\d][\w$]*+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_EDGE: Final = re.compile(r"/\*|\*/")
_SPACE: Final = re.compile(r"\s*+")
_CONSTANT: Final = re.compile(r"constant(?![\w$])", re.IGNORECASE)
# Any beginning of the word will do for the parser, which compares no more than it was given (`parse_datatype`).
_RECORD_DEFAULT: Final = re.compile(
    r"(?:record|recor|reco|rec|re|r)\s*+(?::=|=|(?:default|not|collate)(?![\w$]))", re.IGNORECASE)
_COMMANDS: Final = frozenset("""
abort alter analyse analyze assert begin call case checkpoint close cluster comment commit continue copy create
deallocate declare delete discard do drop else elseif elsif end exception execute exit explain fetch for foreach
get grant if import insert listen load lock loop merge move notify null open perform prepare raise reassign refresh
reindex release reset return revoke rollback savepoint security select set show start table then truncate unlisten
update vacuum values when while with
""".split())
"""What a statement may begin with: `truncate customers;` is no declaration, even where a variable has that name."""


class _Token(NamedTuple):
    text: str
    start: int
    end: int


def hides_default(body: str, records: Iterable[str]) -> bool:
    """Whether one of these record variables may be declared with a default, which the parser does not show."""
    patience = 8 * len(body)                        # of looking at comments: nobody writes them like this
    has_escapes = re.search('u&"', body, re.IGNORECASE) is not None
    for name in records:
        if has_escapes:
            return True                             # a name may be written in them
        written = re.escape(name.replace('"', '""'))
        for match in re.finditer(rf'(?<![\w$]){written}[\w$]*+"?', body, re.IGNORECASE):
            position = _skip(body, match.end())
            patience -= position - match.end()
            if patience < 0:
                return True
            constant = _CONSTANT.match(body, position)
            if constant is not None:
                position = _skip(body, constant.end())
            if position > match.end() and _RECORD_DEFAULT.match(body, position):
                return True
    return False


def _skip(body: str, position: int) -> int:
    """The end of the white space and comments at a position."""
    while True:
        position = _SPACE.match(body, position).end()  # type: ignore[union-attr]
        if body.startswith("--", position):
            line = re.compile(r"[^\n\r]*+").match(body, position)
            position = line.end()  # type: ignore[union-attr]
        elif body.startswith("/*", position):
            position = _after_block(body, position)
        else:
            return position


def _after_block(body: str, start: int) -> int:
    """The position after a (nested) block comment; the end where it has none."""
    depth = 0
    for edge in _EDGE.finditer(body, start):
        depth += 1 if edge.group() == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(body)


def has_alias(body: str) -> bool:
    """Whether a variable gets a second name, which the parser's tree does not show: `v ALIAS FOR NEW`."""
    if "alias" not in body.lower():
        return False
    words = [token.text.lower() for token in _tokens(body)]
    return any(pair == ("alias", "for") for pair in pairwise(words))


def with_records(body: str) -> tuple[str, frozenset[str]]:
    """The body with every variable of a table's row type declared as a record, and the names that went."""
    if "rowtype" not in body.lower():
        return body, frozenset()
    tokens = _tokens(body)
    return _changed(body, tokens, lambda index: _declared(tokens, index - 1, None)
                    if [token.text.lower() for token in tokens[index:index + 3]] == ["%", "rowtype", ";"] else None)


def with_record(body: str, variable: str) -> tuple[str, frozenset[str]] | None:
    """The body with this variable declared as a record, and the names of its type; None where there is no such
    declaration."""
    tokens = _tokens(body)
    changed = _changed(body, tokens, lambda index: _declared(tokens, index - 1, variable)
                       if tokens[index].text == ";" else None)
    return changed if changed[0] != body else None


def _declared(tokens: list[_Token], last: int, variable: str | None) -> int | None:
    """`; variable [CONSTANT] a.b.c`: where the type that ends with the token `last` begins, if it is one."""
    start = last
    while start >= 2 and tokens[start - 1].text == "." and _is_name(tokens[start - 2].text):
        start -= 2
    name = start - (2 if start >= 1 and tokens[start - 1].text.lower() == "constant" else 1)
    if name < 1 or not _is_name(tokens[start].text) or not _is_name(tokens[name].text):
        return None
    if tokens[name].text.lower() in _COMMANDS or variable not in (None, stored(tokens[name].text)):
        return None
    return start if tokens[name - 1].text.lower() in (";", "declare") else None


def _changed(body: str, tokens: list[_Token], type_at: Callable[[int], int | None]) -> tuple[str, frozenset[str]]:
    """Writes `record` for every type that `type_at` finds to end before a token, up to the next semicolon."""
    pieces: list[str] = []
    gone: set[str] = set()
    position = 0
    for index in range(len(tokens)):
        start = type_at(index)
        if start is None:
            continue
        gone.update(stored(part.text) for part in tokens[start:index] if part.text != ".")
        pieces += [body[position:tokens[start].start], "record"]
        while tokens[index].text != ";":            # of `% rowtype ;`, or there already
            index += 1
        position = tokens[index].start
    return "".join([*pieces, body[position:]]), frozenset(gone)


def _tokens(body: str) -> list[_Token]:
    """The words and marks of a body, without white space, comments and literals."""
    tokens: list[_Token] = []
    position, end = 0, len(body)
    while position < end:
        match = _TOKEN.match(body, position)
        assert match is not None                    # any character matches
        kind, start, position = match.lastgroup, position, match.end()
        if kind == "block":
            position = _after_block(body, start)
        elif kind == "dollar":
            closing = body.find(match.group(), position)
            position = end if closing < 0 else closing + len(match.group())
        elif kind in ("word", "other"):
            tokens.append(_Token(match.group(), start, position))
    return tokens


def _is_name(text: str) -> bool:
    return text[0] == '"' or text[0] == "_" or text[0].isalpha()


def stored(text: str) -> str:
    """A name as it is stored."""
    return text[1:-1].replace('""', '"') if text.startswith('"') else text.lower()

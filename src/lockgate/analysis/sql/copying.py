"""How a COPY writes its rows on the wire: the options that decide where a value begins and ends.

Apart from `effects` because it is a small grammar of its own (manual, "COPY"; ProcessCopyOptions in
copy.c): option names and values as the parser gives them, for the old and the new syntax alike. What
this reading is not sure of is a `problem`, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

_IGNORED: Final = frozenset({
    "freeze", "force_not_null", "force_null", "force_quote", "default", "on_error", "log_verbosity",
    "reject_limit",
})
"""Options that leave the shape of a row as it is (a forced quote is a quote)."""
_STRINGS: Final = frozenset({"delimiter", "null", "quote", "escape"})
_UTF8: Final = frozenset({"utf8", "utf-8", "unicode"})


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """Those of one COPY from or to the client. `problem` says why its rows cannot be told apart, None if they can. With
    `has_header` the first line is no row; where that is not sure, it counts as one."""

    format: str = "text"
    delimiter: str = "\t"
    null: str = "\\N"
    quote: str = '"'
    escape: str = '"'
    problem: str | None = None
    has_header: bool = False


def copy_format(options: list[dict[str, Any]] | None) -> CopyOptions:
    """The options of one statement, with the defaults of its format."""
    given: dict[str, str] = {}
    header = False
    for item in options or ():
        element = item.get("DefElem", {})
        name = str(element.get("defname", ""))
        if name in _IGNORED:
            continue
        if name == "header":
            header = _is_on(element.get("arg"))
            continue
        value = element.get("arg", {}).get("String", {}).get("sval")
        if name not in _STRINGS and name not in ("format", "encoding"):
            return CopyOptions(problem=f"the COPY option {name[:40]} is not known here")
        if name in given:
            return CopyOptions(problem=f"the COPY option {name} is given twice")
        if "arg" in element and "String" not in element["arg"]:
            return CopyOptions(problem=f"the COPY option {name} has a value that is no string")
        given[name] = str(value or "")
    return replace(_with_defaults(given), has_header=header)


def _is_on(argument: dict[str, Any] | None) -> bool:
    """`HEADER`, `HEADER true`, `HEADER 1` …"""
    if argument is None:
        return True
    if "Boolean" in argument:
        return bool(argument["Boolean"].get("boolval", False))
    if "Integer" in argument:
        return bool(argument["Integer"].get("ival", 0))
    return str(argument.get("String", {}).get("sval", "")).lower() in ("true", "on", "1")


def _with_defaults(given: dict[str, str]) -> CopyOptions:
    kind = given.get("format", "text")
    if kind not in ("text", "csv", "binary"):
        return CopyOptions(problem="the COPY format is not known here")
    if kind == "binary":
        return CopyOptions("binary")
    if given.get("encoding", "utf8").lower() not in _UTF8:
        return CopyOptions(kind, problem="the COPY encoding is not UTF8")
    is_csv = kind == "csv"
    quote = given.get("quote", '"')
    found = CopyOptions(
        kind, given.get("delimiter", "," if is_csv else "\t"), given.get("null", "" if is_csv else "\\N"),
        quote, given.get("escape", quote),
    )
    if any(len(mark.encode()) != 1 for mark in (found.delimiter, found.quote, found.escape)):
        return replace(found, problem="a COPY delimiter, quote or escape is not one byte")
    if is_csv and found.escape != found.quote:
        # An escaped quote would count as the end of the quotes where lines are put together.
        return replace(found, problem="the COPY escape is another character than its quote")
    return found

"""The target of a request: one reading of it that gateway, policy and backend share, or none.

Apart from the codec, which knows how a target is delimited: here is what it means (RFC 3986 sections 2.1, 3.3 and 6.2,
RFC 9110 section 4.2). A path that two programs could read differently is refused, never repaired: dot segments, empty
segments, backslashes, escaped slashes and semicolons, escapes of escapes, control characters, and what is not UTF-8.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SEMICOLON: Final = re.compile(rb"%3b", re.IGNORECASE)
_DOUBLE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROLS: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_RAW: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_RAW_QUERY: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]|^`{}\"\\-]*")
_MOST_PARAMETERS: Final = 1000


class BadTarget(ValueError):
    """A target that could be read in two ways. The message says which, without the peer's bytes."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request's path and query. `path` is decoded, without parameters (`;…`) and without a slash at its end; `segments`
    are its parts; `query` are decoded values by name, in order. `raw_path` and `raw_query` are as they were written."""

    raw_path: bytes
    raw_query: bytes | None
    path: str
    segments: tuple[str, ...]

    @property
    def path_texts(self) -> list[bytes]:
        """All that stands in the path, decoded: segments, and the parameters that `segments` leave out though they go on."""
        return [piece for part in self.raw_path[1:].split(b"/") for piece in unquote_to_bytes(part).split(b";")]

    @property
    def texts(self) -> list[bytes]:
        """All that stands in the target, decoded: of the path, and names and values of the query."""
        return [*self.path_texts, *(text.encode() for name, values in self.query.items() for text in (name, *values))]

    @property
    def query(self) -> dict[str, list[str]]:
        """Values by name. `BadTarget` for one that cannot be read."""
        return parameters(self.raw_query or b"")


@lru_cache(maxsize=1024)
def read_target(raw: bytes) -> Target:
    """The target in origin form. `BadTarget` for what could be read in two ways."""
    path, mark, query = raw.partition(b"?")
    if not path.startswith(b"/"):
        raise BadTarget("the request's target does not begin with a slash")
    if _RAW.fullmatch(path) is None:
        raise BadTarget("the path holds a character that has to be written as an escape")
    if mark and _RAW_QUERY.fullmatch(query) is None:
        raise BadTarget("the query holds a character that has to be written as an escape")
    segments = tuple(read_segment(part) for part in path[1:].split(b"/"))
    if len(segments) > 1 and "" in segments[:-1]:
        raise BadTarget("the path holds an empty segment (//)")
    if segments[-1] == "":
        segments = segments[:-1]
    return Target(path, query if mark else None, "/" + "/".join(segments), segments)


def read_segment(raw: bytes) -> str:
    """A part of a path, decoded and without parameters. `BadTarget` for what could be read in two ways."""
    text = _decoded(raw, "the path")
    if "/" in text or "\\" in text:
        raise BadTarget("the path holds an escaped slash or a backslash")
    if _DOUBLE.search(text) is not None:
        raise BadTarget("the path holds an escape of an escape")
    if _SEMICOLON.search(raw) is not None:      # parameters begin there for who decodes first, and not for who cuts first
        raise BadTarget("the path holds an escaped semicolon")
    name = text.partition(";")[0]
    if name in (".", ".."):
        raise BadTarget("the path holds a dot segment")
    if not name and text:
        raise BadTarget("the path holds a segment of parameters only")
    return name


def _decoded(raw: bytes, what: str) -> str:
    if _ESCAPE.search(raw) is not None:
        raise BadTarget(f"{what} holds a percent sign that is no escape")
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise BadTarget(f"{what} is not UTF-8") from None
    if _CONTROLS.search(text) is not None:
        raise BadTarget(f"{what} holds a control character")
    return text


def parameters(raw: bytes) -> dict[str, list[str]]:
    """Decoded values by name (WHATWG URL, application/x-www-form-urlencoded). `BadTarget` for what cannot be read, and for
    more than a thousand."""
    found: dict[str, list[str]] = {}
    pieces = raw.split(b"&") if raw else []
    if len(pieces) > _MOST_PARAMETERS:
        raise BadTarget(f"there are more than {_MOST_PARAMETERS} parameters")
    for piece in pieces:
        if not piece:
            continue
        name, _, value = piece.replace(b"+", b" ").partition(b"=")
        found.setdefault(_form(name), []).append(_form(value))
    return found


def _form(raw: bytes) -> str:
    if _ESCAPE.search(raw) is not None:
        raise BadTarget("a parameter holds a percent sign that is no escape")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise BadTarget("a parameter is not UTF-8") from None

"""Custom detectors: a policy's own pattern, read by RE2, made into a `Detector` with a prefilter of its own.

1. The pattern must mean the same to RE2 and to Python's `re`, so that whoever tested it in one of them gets
   what was tested: look-around, back-references and what only one of them knows are refused.
2. Both halves run on RE2: no value can make a pattern of a policy take more than linear time.
3. The prefilter is the pattern without its anchors and word boundaries. Leaving out a condition can only
   make a pattern match more, so it finds something inside everything that the pattern accepts, wherever
   the value lies in a chunk. A pattern that could match nothing at all would hide everything: refused.
4. A pattern that can take a byte which some format writes as an escape makes every value that holds an
   escape be decoded and searched (`Detector.takes_escapes`).

Stands apart from the shipped detectors, which are tuned by hand and may use Python's engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import re2

from lockgate.errors import ConfigError
from lockgate.govern.masking.detector import REDACTED, Detector, Scope, Span
from lockgate.govern.masking.prefilter import options
from lockgate.govern.masking.validators import VALIDATORS
from lockgate.model import CustomDetector

LONGEST_PATTERN = 500
_LARGEST_PROGRAM = 4000           # instructions of RE2: a bounded repetition multiplies what it repeats
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_GLOB = re.compile(r"[^.\s]+(?:\.[^.\s]+){0,2}")

TYPES = {
    "text": 25, "varchar": 1043, "char": 1042, "name": 19, "json": 114, "jsonb": 3802, "xml": 142, "bytea": 17,
    "int8": 20, "bigint": 20, "numeric": 1700,
}  # fmt: skip
"""The column types that a custom detector may name: those that detection looks into. Arrays go with them."""

_TOKEN = re.compile(
    r"(?P<escape>\\(?:x[0-9a-fA-F]{2}|.))"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\\\]])*\])"
    r"|(?P<group>\(\?(?:P<[A-Za-z_][A-Za-z0-9_]*>|[ims]*(?:-[ims]+)?:|[ims]+\)))"
    r"|(?P<odd>\(\?|\[|\{,)"
    r"|(?P<anchor>[\^$])"
    r"|(?P<plain>.)",
    re.DOTALL,
)
_SET_TOKEN = re.compile(r"(?P<escape>\\(?:x[0-9a-fA-F]{2}|.))|(?P<odd>\[|--|&&|\|\||~~)|(?P<plain>.)", re.DOTALL)
_ESCAPES = frozenset("dDsSwWtnrfvax")
_ESCAPED_SOMEWHERE = [bytes((byte,)) for byte in (*range(32), *b'"\\/|,;', *range(127, 256))]
"""What JSON, arrays, COPY text, CSV or bytea write in another way than it is."""


@dataclass(frozen=True, slots=True)
class LinearPattern:
    """A finder on RE2: the group if there is one, in values of a length, confirmed by a validator."""

    compiled: re2._Regexp
    group: int
    verify: Callable[[bytes], bool] | None
    shortest: int
    longest: int | None

    def __call__(self, value: bytes) -> list[Span]:
        """The spans in `value`, in whole characters; an empty one hides nothing and is left out."""
        if len(value) < self.shortest or (self.longest is not None and len(value) > self.longest):
            return []
        spans = [found.span(self.group) for found in self.compiled.finditer(value)]
        verify = self.verify
        return [
            _whole_characters(value, start, end) for start, end in spans
            if start < end and (verify is None or verify(value[start:end]))
        ]


def _whole_characters(value: bytes, start: int, end: int) -> Span:
    """The span with the rest of a UTF-8 character that it begins or ends in: half of one would not decode."""
    for _ in range(3):
        if start > 0 and 0x80 <= value[start] < 0xC0:
            start -= 1
        if end < len(value) and 0x80 <= value[end] < 0xC0:
            end += 1
    return start, end


def compile_detector(custom: CustomDetector) -> Detector:
    """The detector that a policy describes; ConfigError says what is wrong and what to write instead."""
    if not _NAME.fullmatch(custom.name):
        raise _refusal(custom, "its name is not one", "small letters, digits and underscores, at most 40")
    if custom.validator is not None and custom.validator not in VALIDATORS:
        raise _refusal(custom, f"there is no validator {custom.validator!r}", "one of " + ", ".join(sorted(VALIDATORS)))
    if custom.min_length < 0 or custom.keep < 0 or (
        custom.max_length is not None and custom.max_length < max(1, custom.min_length)
    ):
        raise _refusal(custom, "its lengths fit no value", "0 <= min_length <= max_length, keep >= 0")
    stripped, takes_escapes = _without_assertions(custom)
    compiled = _compiled(custom, custom.pattern, captures=True)
    if compiled.groups > 1:
        raise _refusal(custom, "it has more than one group", "one group around what to hide; (?:…) for the others")
    if _compiled(custom, stripped, captures=False).fullmatch(b"") is not None:
        raise _refusal(custom, "it can match nothing at all", "at least one character that must be there")
    find = LinearPattern(
        compiled, compiled.groups, None if custom.validator is None else VALIDATORS[custom.validator],
        custom.min_length, custom.max_length,
    )
    return Detector(
        custom.name, stripped, find, _keep_last(custom.keep), number=lambda digits: bool(find(digits)),
        joined=False, takes_escapes=takes_escapes, scope=_scope(custom),
    )


def _without_assertions(custom: CustomDetector) -> tuple[str, bool]:
    """The pattern without anchors and boundaries, and whether it can take a byte that gets escaped."""
    if len(custom.pattern) > LONGEST_PATTERN:
        raise _refusal(custom, "its pattern is too long", f"at most {LONGEST_PATTERN} characters")
    if not custom.pattern.isascii() or not custom.pattern.isprintable():
        raise _refusal(custom, "its pattern is not printable ASCII", r"patterns run over UTF-8 bytes: \xc3\xa9 for é")
    kept: list[str] = []
    takes_escapes = False
    for token in _TOKEN.finditer(custom.pattern):
        kind, text = str(token.lastgroup), token.group()
        _require_known(custom, kind, text)
        if kind == "anchor" or text in (r"\b", r"\B"):
            kept.append("(?:)")
            continue
        kept.append(text)
        is_atom = kind in ("set", "escape") or (kind == "plain" and text not in "()|?*+{}")
        takes_escapes = takes_escapes or text == "." or (is_atom and _takes_escaped(custom, text))
    return "".join(kept), takes_escapes


def _require_known(custom: CustomDetector, kind: str, text: str) -> None:
    """Refuses what only one of the two engines knows, or what they read differently."""
    if kind == "odd":
        raise _refusal(custom, f"{text!r} begins something that is not allowed",
                       "no look-around, no back-reference, no conditional; {0,n} instead of {,n}")
    if kind == "escape":
        _require_known_escape(custom, text, _ESCAPES | {"b", "B"})
    if kind == "set":
        for inner in _SET_TOKEN.finditer(text, 1, len(text) - 1):
            if inner.lastgroup == "odd":
                raise _refusal(custom, f"{inner.group()!r} inside {text} means different things to different engines",
                               "a backslash before it")
            if inner.lastgroup == "escape":
                _require_known_escape(custom, inner.group(), _ESCAPES)


def _require_known_escape(custom: CustomDetector, text: str, known: frozenset[str]) -> None:
    if text[1].isalnum() and text[1] not in known:
        raise _refusal(custom, f"{text} is not allowed", r"^ and $ for the ends, \d \s \w \b, \xhh for a byte")


def _takes_escaped(custom: CustomDetector, atom: str) -> bool:
    """Whether one atom matches a byte that some format escapes; in either case, to be on the safe side."""
    matcher = _compiled(custom, f"(?i:{atom})", captures=False)
    return any(matcher.fullmatch(byte) is not None for byte in _ESCAPED_SOMEWHERE)


def _compiled(custom: CustomDetector, pattern: str, captures: bool) -> re2._Regexp:
    chosen = options()
    chosen.never_capture = not captures
    try:
        re.compile(pattern.encode("ascii"))
        compiled = re2.compile(pattern.encode("ascii"), chosen)
    except (re.error, re2.error, OverflowError, RecursionError) as error:
        reason = error.args[0] if error.args else "unreadable"
        reason = reason.decode("ascii", "replace") if isinstance(reason, bytes) else str(reason)
        raise _refusal(custom, f"its pattern cannot be read: {reason}",
                       "what both RE2 and Python's re understand") from None
    if compiled.programsize > _LARGEST_PROGRAM:
        raise _refusal(custom, "its pattern is too large", "smaller or fewer bounded repetitions")
    return compiled


def _scope(custom: CustomDetector) -> Scope:
    for glob in custom.columns:
        if not _GLOB.fullmatch(glob):
            raise _refusal(custom, f"{glob!r} is not a column glob", "schema.relation.column, relation.column, column")
    for name in custom.types:
        if name not in TYPES:
            raise _refusal(custom, f"detection does not look into type {name!r}", "one of " + ", ".join(sorted(TYPES)))
    return Scope(
        columns=tuple(tuple(glob.split(".")) for glob in custom.columns),
        oids=frozenset(TYPES[name] for name in custom.types),
    )


def _keep_last(count: int) -> Callable[[bytes], bytes]:
    """Keeps the last `count` bytes, at most half and no broken character."""

    def partial(found: bytes) -> bytes:
        kept = min(count, len(found) // 2)
        rest = found[len(found) - kept :] if kept else b""
        return REDACTED + rest.lstrip(bytes(range(128, 192)))

    return partial


def _refusal(custom: CustomDetector, problem: str, instead: str) -> ConfigError:
    return ConfigError(f"detector {custom.name!r}: {problem}", advice=f"write {instead}")



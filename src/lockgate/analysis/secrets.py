"""Credentials inside of statements: found by their place in the text, and replaced before anything is kept.

A record has to show what was asked for, and must not become a place to read passwords from. The rule is lexical,
so that it holds as well for texts that nobody can parse, for bodies of functions inside of literals and for
bytes on the wire, and it errs on the side of hiding:

- the literal (or the parameter) behind a name that ends like ``password``, ``secret``, ``token``, ``api_key`` …,
  with an operator, a comma, a bracket or the name of a function between them: ``ALTER ROLE r PASSWORD 'x'``,
  ``OPTIONS (user 'u', password 'x')``, ``password = crypt('x', …)``, ``set_config('app.api_key', 'x', true)``;
- ``password=x`` and its like in connection strings: ``CREATE SUBSCRIPTION … CONNECTION '…'``, ``dblink('…')``;
- the password in a URL, JSON Web Tokens (RFC 7519), ``Bearer x``, and private keys in PEM, wherever they are.

Values that nothing but their column makes a secret (``INSERT INTO users VALUES ('ann', 'x')``) are data like
any other, kept in the payload only, and erased with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

HIDDEN: Final = "[redacted]"

_GAP: Final = r"(?: \s | /\*.{0,400}?\*/ | --[^\n]{0,400}\n ){0,40}+"
_NAME: Final = (
    r"(?: passw(?:or)?d | passphrase | pwd | secret | token | credentials? | api[_-]?key"
    r" | (?:access|private|secret|encryption)[_-]?key ) (?: [_-]?(?:hash|digest|text|value) )?+"
)
_OPERATOR: Final = r"=> | := | :: \s{0,9}+ \w{1,63}+ | [=,:] | <> | != | \b(?:is|to|in|like|ilike|as|default)\b"
_OPEN: Final = re.compile(
    rf"""(?P<before> {_NAME} ["'\]]{{0,4}}+ {_GAP} (?: {_OPERATOR} )?+ {_GAP} (?: \w{{0,63}}+ \( {_GAP} ){{0,4}}+
         (?: [eEnNbBxX] | [uU]& )? )
         (?: (?P<quote> '+ ) | \$(?P<tag> (?:[^\W\d]\w{{0,63}})?+ )\$ | (?P<double> " ) | \$(?P<number> [0-9]{{1,5}} ) )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
"""A name and what stands between it and a literal, up to the quote that opens it."""
_QUOTES: Final = re.compile(r"\\.|'+", re.DOTALL)
_DOUBLE: Final = re.compile(r"(?:[^\"\\]|\\.)*+", re.DOTALL)
_GOES_ON: Final = re.compile(r"[ \t\r\f\v]*\n\s*'")
_ASSIGNED: Final = re.compile(
    rf"(?P<before> {_NAME} \s{{0,9}}+ = \s{{0,9}}+ ) (?!['\"$\s]) (?P<value> (?: \\. | [^\s\x00'\"&;,)\\] )++ )",
    re.VERBOSE | re.IGNORECASE | re.DOTALL)
_URL: Final = re.compile(r"(?P<before>://[^\s/:@'\"]{0,255}+:)(?P<value>[^\s\x00/@'\"]{1,4096}+)@")
_TOKEN: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
_BEARER: Final = re.compile(r"(?P<before>\bbearer\s+)(?P<value>[A-Za-z0-9._~+/-]{8,}=*)", re.IGNORECASE)
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Kept:
    """What may be kept of a request: its text, its parameters, and the bytes that went on."""

    text: str
    parameters: tuple[str | None, ...]
    forwarded: bytes


def kept(text: str, parameters: tuple[str | None, ...], forwarded: bytes) -> Kept:
    """The same request without credentials; the same values where there are none."""
    numbers: set[int] = set()
    shown = conceal(text, numbers)
    values = tuple(
        value if value is None else HIDDEN if number in numbers else conceal(value)
        for number, value in enumerate(parameters, 1)
    )
    if shown == text and values == parameters:
        return Kept(text, parameters, forwarded)
    sent = conceal(forwarded.decode("latin-1")).encode("latin-1")
    for value, instead in zip(parameters, values, strict=True):
        if value and instead == HIDDEN:
            sent = sent.replace(value.encode("utf-8", "replace"), HIDDEN.encode())
    return Kept(shown, values, sent)


def kept_lines(lines: Sequence[str]) -> tuple[str, ...]:
    """The same for lines that are shown beside a request."""
    return tuple(conceal(line) if is_suspicious(line) else line for line in lines)


def conceal(text: str, numbers: set[int] | None = None) -> str:
    """The text with every credential replaced; numbers of parameters that are credentials go into `numbers`."""
    return _replaced(text, lambda _: HIDDEN, numbers)


def obscure(data: bytes) -> bytes:
    """Bytes on the wire with asterisks for every credential, as many as it had: what frames them still adds up."""
    text = data.decode("latin-1")
    return _replaced(text, lambda secret: "*" * len(secret), None).encode("latin-1") if is_suspicious(text) else data


def _replaced(text: str, instead: Callable[[str], str], numbers: set[int] | None) -> str:
    def whole(found: re.Match[str]) -> str:
        return instead(found[0])

    def value(found: re.Match[str]) -> str:
        start, end = found.span("value")
        return found[0][: start - found.start()] + instead(found["value"]) + found[0][end - found.start() :]

    text = _PEM.sub(whole, text)
    text = _TOKEN.sub(whole, text)
    text = _URL.sub(value, text)
    text = _behind_names(text, instead, numbers)
    text = _ASSIGNED.sub(value, text)
    return _BEARER.sub(value, text)


def _behind_names(text: str, instead: Callable[[str], str], numbers: set[int] | None) -> str:
    """Without the literals behind names of credentials."""
    pieces: list[str] = []
    position = 0
    while (found := _OPEN.search(text, position)) is not None:
        start, end = found.end(), found.end()
        if found["number"] is not None:
            if numbers is not None:
                numbers.add(int(found["number"]))
        elif found["quote"] is not None:
            end = _end_of_quoted(text, start, len(found["quote"]))
        elif found["tag"] is not None:
            end = text.find(f"${found['tag']}$", start)
            end = len(text) if end < 0 else end
        elif found["before"].rstrip().endswith(":"):     # JSON; elsewhere it is a quoted name
            inside = _DOUBLE.match(text, start)
            end = start if inside is None else inside.end()
        pieces += [text[position:start], instead(text[start:end]) if end > start else ""]
        position = end
    return "".join([*pieces, text[position:]])


def _end_of_quoted(text: str, start: int, level: int) -> int:
    """Where a literal ends that `level` quotes opened: inside of other literals every quote is doubled.

    A backslash counts as an escape, because whether it is one is a setting of the session. Where that is wrong
    more is hidden than has to be.
    """
    while (run := _QUOTES.search(text, start)) is not None:
        start, count = run.end(), run.end() - run.start()
        if text[run.start()] == "\\" or (count % level == 0 and count // level % 2 == 0):
            continue
        more = _GOES_ON.match(text, start)      # a literal goes on behind a newline
        if more is None:
            return run.start()
        start, level = more.end(), 1
    return len(text)


def is_suspicious(text: str) -> bool:
    """A quick look, for every request: without any of these nothing would be replaced."""
    low = text.lower()
    return ("passw" in low or "secret" in low or "token" in low or "://" in low or "passphrase" in low or "pwd" in low
            or "eyj" in low or "credential" in low or "bearer" in low or ("key" in low and _has_key(low)))


def _has_key(low: str) -> bool:
    return ("_key" in low or "-key" in low or "apikey" in low or "accesskey" in low or "privatekey" in low
            or "encryptionkey" in low or "private key" in low)

"""Tokens: turned back where they were made, known everywhere, and never forged, altered or moved."""

from __future__ import annotations

import csv
import io
import json
import re
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.govern.masking.column_type import ColumnType
from lockgate.govern.masking.keys import MaskKeys
from lockgate.govern.masking.tokens import LONGEST, Kind, TokenMint, Tokens, token_mask
from lockgate.govern.masking.value_masks import MaskTerms, value_mask
from lockgate.govern.masking.whole_type import PERMUTED, WholeType
from lockgate.model import MaskMethod, Secret

KEYS = MaskKeys(Secret("5a" * 32))
SCOPE = b"task"
LABELS = ("pii.ssn", "pii.email")
VALUE = b"219-09-9999"
TOKENS = Tokens(KEYS, SCOPE, LABELS)
kinds = st.sampled_from(["text", "json", "bytes"])


def made(value: bytes = VALUE, scope: bytes = SCOPE, label: str = "pii.ssn", kind: Kind = "text",
         keys: MaskKeys = KEYS) -> bytes:
    token = TokenMint(keys, scope, label, kind).make(value)
    assert token is not None
    return token


@given(value=st.binary(max_size=LONGEST), label=st.sampled_from(LABELS), kind=kinds)
def test_a_token_is_turned_back(value: bytes, label: str, kind: Kind) -> None:
    """Every value of every label and kind, and always by the same token."""
    token = made(value, label=label, kind=kind)
    assert token == made(value, label=label, kind=kind)
    opened = TOKENS.detokenize(token)
    assert opened is not None
    assert (opened.value, opened.label, opened.kind) == (value, label, kind)
    assert len(value) < 3 or value not in token


@given(value=st.binary(max_size=40), at=st.integers(0, 200), byte=st.sampled_from(b"abcdefghijklmnopqrstuvwxyz234567"))
def test_an_altered_token_is_none(value: bytes, at: int, byte: int) -> None:
    """One changed letter anywhere, and nothing is turned back."""
    token = bytearray(made(value))
    at = 4 + at % (len(token) - 4)
    if token[at] != byte:
        token[at] = byte
        assert TOKENS.detokenize(bytes(token)) is None


@pytest.mark.parametrize("change", [
    lambda token: token[:-1], lambda token: token + b"a", lambda token: token[4:], lambda token: b"x" + token,
    lambda token: token + b" ", lambda token: b"", lambda token: b"tok_", lambda token: b"tok_" + b"a" * 60,
    lambda token: b"tok_" + b"7" * 60, lambda token: token.replace(b"tok_", b"tok-")])
def test_what_is_not_a_whole_token_is_none(change: object) -> None:
    """Cut off, grown, or made up."""
    assert TOKENS.detokenize(change(made())) is None  # type: ignore[operator]


def test_a_token_belongs_to_its_scope_label_and_kind() -> None:
    """Nobody turns a token back with the labels, the task or the gateway of another."""
    assert Tokens(KEYS, SCOPE, ("pii.email",)).detokenize(made()) is None
    assert Tokens(KEYS, b"other", LABELS).detokenize(made()) is None
    assert Tokens(MaskKeys(Secret("5b" * 32)), SCOPE, LABELS).detokenize(made()) is None
    assert len({made(), made(label="pii.email"), made(scope=b"other"), made(kind="json"), made(kind="bytes")}) == 5


def test_a_token_cannot_be_relabelled() -> None:
    """The column's tag and the mark could be forged by chance; the binding inside could not."""
    ssn, email = TokenMint(KEYS, SCOPE, "pii.ssn", "text"), TokenMint(KEYS, SCOPE, "pii.email", "text")
    sealed = ssn._cipher.encrypt(VALUE + b"\x80" + bytes(4), ssn._bound)
    assert ssn.open(sealed) == VALUE
    assert email.open(sealed) is None
    assert TokenMint(KEYS, SCOPE, "pii.ssn", "json").open(sealed) is None


def test_tokens_of_other_scopes_are_known_and_not_opened() -> None:
    """The gateway recognises whatever it once gave out, so that it is not written back as a value."""
    token = made(scope=b"long ago", label="forgotten")
    assert TOKENS.find(b"x " + token + b" y") == [(2, 2 + len(token))]
    assert TOKENS.detokenize(token) is None
    assert TOKENS.find(made(keys=MaskKeys(Secret("5b" * 32)))) == []


@given(values=st.lists(st.binary(max_size=60), min_size=1, max_size=4), glue=st.sampled_from(["", " ", "a", "'", "=tok_", ",2z", "\n"]),
       upper=st.booleans())
def test_tokens_are_found_among_any_text(values: list[bytes], glue: str, upper: bool) -> None:
    """Side by side, inside words, in capitals: each is found exactly where it is."""
    tokens = [made(value) for value in values]
    text = glue.encode() + glue.encode().join(tokens) + glue.encode()
    text = text.upper() if upper else text
    spans = TOKENS.find(text)
    assert [text[start:end].lower() for start, end in spans] == tokens
    opened = [TOKENS.detokenize(text[start:end]) for start, end in spans]
    assert [one.value for one in opened if one is not None] == values


@given(text=st.binary(max_size=300) | st.from_regex(rb"tok_[a-z2-7]{40,120}", fullmatch=True))
def test_nothing_else_is_taken_for_a_token(text: bytes) -> None:
    """Random text, also of a token's shape, is none (but for the stated chance in 65,536)."""
    assert TOKENS.detokenize(text) is None
    assert all(text[start:start + 4].lower() == b"tok_" for start, _ in TOKENS.find(text))


def test_finding_is_linear() -> None:
    """A text of nothing but beginnings of tokens costs one look at each."""
    front = b"tok_" * 20_000 + b"tok_" + b"a" * 1_000_000
    assert TOKENS.find(front + made()) == [(len(front), len(front) + len(made()))]


def test_a_token_is_a_plain_word() -> None:
    """JSON, CSV, URLs and regular expressions take it as it is."""
    token = made().decode()
    assert json.dumps(token) == f'"{token}"'
    sink = io.StringIO()
    csv.writer(sink, lineterminator="").writerow([token, "x"])
    assert sink.getvalue() == f"{token},x"
    assert urllib.parse.quote(token, safe="") == token
    assert re.escape(token) == token
    assert re.fullmatch(token, token)


def test_tokens_fit_common_columns() -> None:
    """Up to 7, 15 and 31 bytes of value take 51, 64 and 89 characters."""
    assert [len(made(b"x" * size)) for size in (0, 7, 8, 15, 16, 31)] == [51, 51, 64, 64, 76, 89]


@pytest.mark.parametrize(("column", "fits"), [
    (ColumnType(25), True), (ColumnType(1043, 64 + 4), True), (ColumnType(1043, 63 + 4), False),
    (ColumnType(1042, 70 + 4), True), (ColumnType(1042, 11 + 4), False), (ColumnType(19), False)])
def test_a_token_that_does_not_fit_is_redacted(column: ColumnType, fits: bool) -> None:
    """Half a token would be a mask that nobody knows again."""
    new = value_mask(MaskTerms(MaskMethod.TOKEN, SCOPE, "pii.ssn"), column, False, KEYS).replace(VALUE)
    assert new is not None
    opened = TOKENS.detokenize(new.rstrip())
    assert (opened is not None and opened.value == VALUE) == fits
    assert fits or new.rstrip() == b"xxxx"


def test_a_long_value_has_no_token() -> None:
    """Tokens are bounded."""
    assert TokenMint(KEYS, SCOPE, "pii.ssn", "text").make(b"x" * (LONGEST + 1)) is None
    mask = value_mask(MaskTerms(MaskMethod.TOKEN, SCOPE, "x"), ColumnType(25), False, KEYS)
    assert mask.replace(b"x" * (LONGEST + 1)) == b"xxxx"


def test_documents_and_bytes_hold_their_token() -> None:
    """json gives a string, bytea the token's letters; both open to what was there."""
    for oid, binary, value, kind in ((114, False, b'{"a": 1}', "json"), (3802, False, b'{"a": 1}', "json"),
                                     (3802, True, b'\1{"a": 1}', "json"), (17, False, b"\\x6162", "bytes"),
                                     (17, True, b"ab", "bytes")):
        new = value_mask(MaskTerms(MaskMethod.TOKEN, SCOPE, "pii.ssn"), ColumnType(oid), binary, KEYS).replace(value)
        assert new is not None
        text = bytes.fromhex(new[2:].decode()) if oid == 17 and not binary else new
        (start, end), = TOKENS.find(text)
        opened = TOKENS.detokenize(text[start:end])
        assert opened is not None
        assert opened.kind == kind
        assert opened.value == (b"ab" if kind == "bytes" else b'{"a": 1}')


@pytest.mark.parametrize("name", sorted(PERMUTED))
@given(data=st.data())
def test_whole_types_are_permuted_and_turned_back(name: str, data: st.DataObject) -> None:
    """Numbers have no room for a mark; who knows the column turns them back, in text and binary alike."""
    size, signed = PERMUTED[name]
    raw = data.draw(st.binary(min_size=size, max_size=size))
    whole = WholeType(name, KEYS.derive(SCOPE, "id", MaskMethod.TOKEN))
    image = whole.permute(raw, True)
    assert image is not None
    assert whole.restore(image, True) == raw
    if name != "uuid":
        text = b"%d" % int.from_bytes(raw, "big", signed=signed)
        assert whole.permute(text, False) == b"%d" % int.from_bytes(image, "big", signed=signed)


def test_neighbours_are_far_apart() -> None:
    """Small ids do not stay small, and no two meet."""
    whole = WholeType("int4", KEYS.derive(SCOPE, "id", MaskMethod.TOKEN))
    images = [int(whole.permute(b"%d" % number, False) or b"") for number in range(1, 500)]
    assert len(set(images)) == len(images)
    assert sum(abs(image) > 1_000_000 for image in images) > 490


def test_other_types_have_no_token() -> None:
    """What can hold neither a word nor a permutation that hides is redacted."""
    for oid in (16, 21, 700, 790, 1082, 1114, 1186, 1700, 869, 600):
        assert token_mask(ColumnType(oid), False, KEYS, SCOPE, "x", lambda value: value) is None


def test_what_a_token_hides_is_not_shown() -> None:
    """An opened token in a log line says what it was for, not what it is."""
    opened = TOKENS.detokenize(made())
    assert "219" not in repr(opened)
    assert "pii.ssn" in repr(opened)

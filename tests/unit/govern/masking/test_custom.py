"""Custom detectors: what a policy may write, and that its prefilter misses nothing."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lockgate.errors import ConfigError
from lockgate.govern.masking import DETECTORS, DetectorSet, DetectPlan, holds_find
from lockgate.govern.masking.custom import LONGEST_PATTERN, TYPES, LinearPattern, compile_detector
from lockgate.govern.masking.detectors import MOST_CUSTOM
from lockgate.govern.masking.validators import VALIDATORS
from lockgate.model import CustomDetector, DetectMask, MaskMethod
from tests.unit.govern.masking.oracle import expected
from tests.unit.govern.masking.shapes import as_array, as_json, as_octal, framed, read_rows, row_body, stream
from tests.unit.govern.masking.test_identity import FORMATS, HEADER, check_copy, chunked

BULK = ord("D")
OWN = (DetectMask(("own",), MaskMethod.REDACT),)


def shown(
    custom: CustomDetector,
    value: bytes,
    oid: int = 25,
    method: MaskMethod = MaskMethod.REDACT,
    origin: tuple[str, str, str] | None = None,
    binary: bool = False,
) -> bytes | None:
    """One value of one column with only this detector in force."""
    plan = DetectPlan(
        (DetectMask((custom.name,), method),),
        (oid,),
        (int(binary),),
        "rows",
        BULK,
        detectors=DetectorSet.of([custom]),
        origins=(origin,),
    )
    return read_rows(plan.apply(framed(row_body([value]))))[0][0]


_ATOMS: dict[str, list[bytes]] = {
    "a": [b"a"], "b": [b"b"], "7": [b"7"], "-": [b"-"], " ": [b" "], ".": [b"x", b"\xc3\xa9", b'"', b"\\"], r"\d": [b"0"],
    r"\w": [b"_", b"Z"], r"\s": [b"\n", b"\t"], r"\S": [b"/", b"\xe2\x82\xac"], r"[a-c]": [b"c"], r"[^a]": [b"\x01", b"\n", b"b"],
    r"[^\"]": [b"\\", b"\xf0\x9f\x98\x80"], r"[0-9,;|]": [b",", b"|", b";"], r"\"": [b'"'], r"\\": [b"\\"], r"/": [b"/"],
    r"\t": [b"\t"], r"\x00": [b"\0"], r"[\x80-\xff]": [b"\xc3", b"\xff"], r"\xc3\xa9": [b"\xc3\xa9"], "{": [b"{"],
    "(?i:ab)": [b"aB", b"AB"], "(?i:[a-c])": [b"C"],
}  # fmt: skip
"""Atoms of patterns, each with some of what it matches."""

_REPEATS = {"": (1, 1), "?": (0, 1), "*": (0, 3), "+": (1, 4), "{2}": (2, 2), "{1,3}": (1, 3), "+?": (1, 3)}
_BETWEEN = ["", "", "", "", "", r"\b", r"\B"]


@st.composite
def detectors(draw: st.DrawFn, with_choices: bool = True) -> tuple[CustomDetector, bytes]:
    """A detector of up to three pieces, each some atoms or a choice of them that may repeat, between assertions; and a value
    that it matches unless an assertion stands against it. Without choices Python's engine can be asked too: a choice that
    repeats keeps it busy for ever.
    """
    pieces, value = [], b""
    for _ in range(draw(st.integers(1, 3))):
        atoms = draw(st.lists(st.sampled_from(sorted(_ATOMS)), min_size=1, max_size=3 if with_choices else 1))
        is_choice = draw(st.booleans())
        repeat = draw(st.sampled_from(sorted(_REPEATS)))
        pieces.append(f"(?:{('|' if is_choice else '').join(atoms)}){repeat}")
        for _ in range(draw(st.integers(*_REPEATS[repeat]))):
            chosen = [draw(st.sampled_from(atoms))] if is_choice else atoms
            value += b"".join(draw(st.sampled_from(_ATOMS[atom])) for atom in chosen)
    pattern = (
        draw(st.sampled_from([*_BETWEEN, "^"]))
        + draw(st.sampled_from([*_BETWEEN, "|"])).join(pieces)
        + draw(st.sampled_from([*_BETWEEN, "$"]))
    )
    custom = CustomDetector("own", pattern)
    try:
        compile_detector(custom)
    except ConfigError:
        assume(False)
    return custom, value


# ---------------------------------------------------------------- the pattern

REFUSED = [
    r"a(?=b)", r"a(?!b)", r"(?<=a)b", r"(?<!a)b", r"(a)\1", r"(?P<x>a)(?P=x)", r"(?>a)", r"(?(1)a|b)", r"(?#note)a", r"(?x) a",
    r"\pL", r"\p{Greek}", r"\QaE\E", r"\C", r"\z", r"\A", r"\Z", r"\1", r"\07", r"[[:alpha:]]", r"[a&&b]", r"[a--b]", r"[a||b]", r"[a~~b]",
    r"[\b]", r"[\pL]", r"a{,3}", r"a++", r"a*+", r"a**", r"(a", r"a)", r"[a", r"[z-a]", r"\xg0", r"a{2000}", r"((a{100}){100}){9}",
    "caf\u00e9", "a\nb", "", r"a*", r"^$", r"\b", r"(?:a|)", r"(a)(b)", r"x|\b", "a" * (LONGEST_PATTERN + 1), r"(?i:a)(?U)b",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_pattern_that_cannot_be_held_is_refused(pattern: str) -> None:
    """Look-around, references, what one engine alone knows, what matches nothing, what is too large: each is told
    with the detector's name and what to write instead.
    """
    with pytest.raises(ConfigError) as caught:
        compile_detector(CustomDetector("own", pattern))
    assert "'own'" in str(caught.value)
    assert caught.value.advice().startswith("write ")


ACCEPTED = [
    (r"EMP-\d{6}", b"a EMP-123456.", b"a xxxx."),
    (r"^EMP$", b"EMP", b"xxxx"),
    (r"^EMP$", b"EMP ", b"EMP "),
    (r"\bemp\b", b"temp emp", b"temp xxxx"),
    (r"(?i)emp-[a-f]+", b"EMP-ABC", b"xxxx"),
    (r"(?i:emp)-x", b"EMP-x EMP-X", b"xxxx EMP-X"),
    (r"id=([0-9]+)", b"id=77;", b"id=xxxx;"),
    (r"id=(?P<number>[0-9]+)", b"id=77;", b"id=xxxx;"),
    (r"id=(?:a|([0-9]+))", b"id=a id=7", b"id=a id=xxxx"),
    (r"\xc3\xa9t\xc3\xa9", "l'été".encode(), b"l'xxxx"),
    (r"[]x]+y", b"a]xy", b"axxxx"),
    (r"[^\]]y", b"ay]y", b"xxxx]y"),
    (r"a\-b\.c\[\]", b"a-b.c[]", b"xxxx"),
    (r"(?s)<.*>", b"a<b\nc>d", b"axxxxd"),
    (r"a{2,3}", b"aaaa", b"xxxxa"),
    (r"\$\d+", b"$42", b"xxxx"),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "value", "due"), ACCEPTED)
def test_a_pattern_hides_what_it_says(pattern: str, value: bytes, due: bytes) -> None:
    """The whole match, or the group where there is one and it took part."""
    assert shown(CustomDetector("own", pattern), value) == due


@settings(max_examples=200)
@given(made=detectors(), value=st.text("aéß漢😀 X", max_size=12))
def test_no_character_is_cut_in_half(made: tuple[CustomDetector, bytes], value: str) -> None:
    """Patterns run over bytes, clients read characters: what is left is UTF-8."""
    custom, _ = made
    for method in (MaskMethod.REDACT, MaskMethod.PARTIAL):
        result = shown(custom, value.encode(), method=method)
        assert result is not None
        result.decode()


def test_no_value_makes_a_pattern_slow() -> None:
    """A pattern that keeps a backtracking engine busy for ever is answered in linear time."""
    evil = compile_detector(CustomDetector("own", r"^(?:a+)+$"))
    assert evil.find(b"a" * 200_000 + b"b") == []
    assert evil.find(b"a" * 200_000) == [(0, 200_000)]


# ---------------------------------------------------------------- the prefilter


@settings(max_examples=400)
@given(made=detectors(), around=st.sampled_from([b"", b" ", b"a", b"\n", b"\xff"]), data=st.data())
def test_no_random_pattern_is_missed_in_any_format(
    made: tuple[CustomDetector, bytes], around: bytes, data: st.DataObject
) -> None:
    """Whatever the pattern, raw rows, escapes of JSON, arrays, bytea and COPY give what a scan of every field gives."""
    custom, value = made[0], around + made[1] + around
    value = value.replace(b"\0", b"") if data.draw(st.booleans()) else value
    own = DetectorSet.of([custom])
    active = own.active(OWN)
    filler = data.draw(st.binary(max_size=60))
    rows = [[filler, value, filler], [value, filler, None]]
    plan = DetectPlan(OWN, (25, 25, 25), (0, 1, 0), "rows", BULK, detectors=own)
    assert read_rows(plan.apply(stream(rows))) == expected(rows, active, (25,) * 3, (False, True, False), None)[0]
    for oid, encoded, binary in (
        (17, as_octal(value), False), (17, b"\\x" + value.hex().encode(), False), (114, as_json(value, True), False),
        (114, as_json(value, False), False), (1009, as_array(value), False), (2249, value, True), (20000, value, True),
    ):  # fmt: skip
        plan = DetectPlan(OWN, (oid,), (int(binary),), "rows", BULK, detectors=own)
        out = read_rows(plan.apply(stream([[encoded]])))
        assert out == expected([[encoded]], active, (oid,), (binary,), None)[0]
    text = value.replace(b"\0", b"")
    for kind, (line, _) in FORMATS.items():
        copy = DetectPlan(OWN, (), (), kind, ord("d"), detectors=own)  # type: ignore[arg-type]
        check_copy(copy, kind, [[text, b"a"]], chunked(line([text, b"a"]), [], []), OWN, None, own)
    copy = DetectPlan(OWN, (), (), "copy-binary", ord("d"), detectors=own)
    check_copy(
        copy, "copy-binary", [[value]], chunked(HEADER + row_body([value]) + b"\xff\xff", [19], [1]), OWN, None, own
    )


@settings(max_examples=300)
@given(
    made=detectors(with_choices=False),
    around=st.binary(max_size=20) | st.text('abX7- .,é"\\/\t', max_size=20).map(str.encode),
)
def test_both_engines_agree(made: tuple[CustomDetector, bytes], around: bytes) -> None:
    """Python's `re`, in which a pattern may have been tried, finds what RE2 finds; its `$` alone also matches before
    a last newline, its `\\s` alone takes a vertical tab.
    """
    custom, value = made[0], made[1] + around
    assume(b"\x0b" not in value)
    assume(not value.endswith(b"\n"))
    python = [found.span() for found in re.finditer(custom.pattern.encode(), value) if found.group()]
    find = compile_detector(custom).find
    assert isinstance(find, LinearPattern)
    assert [found.span() for found in find.compiled.finditer(value) if found.group()] == python


def test_an_unsound_prefilter_is_caught() -> None:
    """A prefilter that keeps the word boundary misses a value whose length is a letter."""
    custom = CustomDetector("own", r"\bemp\b")
    value = b"emp " + b"~" * (0x61 - 4)
    raw = framed(row_body([value]))
    assert re2.search(rb"\bemp\b", raw) is None
    assert re2.search(compile_detector(custom).prefilter.encode(), raw) is not None
    assert shown(custom, value) == b"xxxx" + value[3:]


# ---------------------------------------------------------------- where, and what is shown


def test_validators_decide() -> None:
    """A match that its validator rejects is left alone."""
    custom = CustomDetector("own", r"\b\d{10}\b", validator="luhn")
    assert shown(custom, b"1234567897 1234567890") == b"xxxx 1234567890"
    assert set(VALIDATORS) == {"card", "entropy", "luhn", "mod97", "ssn"}


@pytest.mark.parametrize(("length", "due"), [(2, False), (3, True), (5, True), (6, False)])
def test_lengths_narrow(length: int, due: bool) -> None:
    """Only values of min_length to max_length bytes are looked into, wherever in them the match stands."""
    custom = CustomDetector("own", "a", min_length=3, max_length=5)
    value = b"a" + b"-" * (length - 1)
    assert (shown(custom, value) != value) is due


@pytest.mark.parametrize(
    ("columns", "origin", "due"),
    [(("note",), ("crm", "customers", "note"), True), (("customers.note",), ("crm", "customers", "note"), True),
     (("crm.*.n*",), ("crm", "customers", "note"), True), (("note",), ("crm", "customers", "name"), False),
     (("hr.*.note",), ("crm", "customers", "note"), False), (("hr.*.note", "note"), ("crm", "customers", "note"), True),
     (("note",), None, True), ((), ("crm", "customers", "name"), True), (("a.b",), ("x", "a", "b.c"), False)],
)  # fmt: skip
def test_columns_narrow_by_where_a_value_comes_from(
    columns: tuple[str, ...], origin: tuple[str, str, str] | None, due: bool
) -> None:
    """By glob from the right; a value that comes from no known column is looked into."""
    assert (shown(CustomDetector("own", "a+", columns=columns), b"aa", origin=origin) == b"xxxx") is due


@pytest.mark.parametrize(
    ("types", "oid", "value", "due"),
    [(("text",), 25, b"77", b"xxxx"), (("text",), 1043, b"77", b"77"), (("varchar", "char"), 1043, b"77", b"xxxx"),
     (("int8",), 20, b"77", b"0"), (("int8",), 25, b"77", b"77"), ((), 20, b"77", b"0"), (("text",), 1009, b"{77}", b'{"xxxx"}'),
     (("jsonb",), 3802, b'{"a": 77}', b'{"a": 0}'), (("text",), 20000, b"77", b"xxxx"), (("numeric",), 1700, b"-77.00", b"0"),
     (("bytea",), 17, b"\\x3737", b"\\x78787878"), ((), 23, b"77", b"77")],
)  # fmt: skip
def test_types_narrow(types: tuple[str, ...], oid: int, value: bytes, due: bytes) -> None:
    """Arrays go with their elements; a type made at run time may be any of them; int4 is not looked into."""
    assert shown(CustomDetector("own", r"\b7+", types=types), value, oid) == due


def test_binary_numbers_are_read_for_a_custom_detector() -> None:
    """Digits that no byte shows are written out and searched."""
    assert shown(CustomDetector("own", "^77$"), (77).to_bytes(8, "big"), 20, binary=True) == bytes(8)
    assert shown(CustomDetector("own", "^78$"), (77).to_bytes(8, "big"), 20, binary=True) == (77).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("keep", "value", "due"),
    [(0, b"EMP-123456", b"xxxx"), (4, b"EMP-123456", b"xxxx3456"), (99, b"EMP-123456", b"xxxx23456"), (1, "EMP-é".encode(), b"xxxx")],
)  # fmt: skip
def test_partial_keeps_the_end(keep: int, value: bytes, due: bytes) -> None:
    """At most half of it, and never half a character."""
    assert shown(CustomDetector("own", r"EMP-.+", keep=keep), value, method=MaskMethod.PARTIAL) == due


@pytest.mark.parametrize("custom", [
    CustomDetector("Own", "a"), CustomDetector("", "a"), CustomDetector("a" * 41, "a"), CustomDetector("own", "a", validator="crc"),
    CustomDetector("own", "a", min_length=-1), CustomDetector("own", "a", min_length=3, max_length=2), CustomDetector("own", "a", max_length=0),
    CustomDetector("own", "a", keep=-1), CustomDetector("own", "a", types=("int4",)), CustomDetector("own", "a", columns=("a.b.c.d",)),
    CustomDetector("own", "a", columns=("",)),
])  # fmt: skip
def test_a_description_that_makes_no_sense_is_refused(custom: CustomDetector) -> None:
    """Names, validators, lengths, types and globs are checked before anything runs."""
    with pytest.raises(ConfigError):
        DetectorSet.of([custom])


def test_names_are_taken_once() -> None:
    """A custom detector cannot take the place of a shipped one or of another, and there is a limit to them."""
    for customs in (
        [CustomDetector("email", "a")],
        [CustomDetector("own", "a")] * 2,
        [CustomDetector(f"own{index}", "a") for index in range(MOST_CUSTOM + 1)],
    ):
        with pytest.raises(ConfigError):
            DetectorSet.of(customs)


def test_sets_do_not_know_each_other() -> None:
    """Two configurations live side by side; the shipped set stays what it is."""
    one, two = (DetectorSet.of([CustomDetector("own", pattern)]) for pattern in ("a", "b"))
    plans = [DetectPlan(OWN, (25,), (0,), "rows", BULK, detectors=made) for made in (one, two)]
    assert [read_rows(plan.apply(framed(row_body([b"ab"]))))[0][0] for plan in plans] == [b"xxxxb", b"axxxx"]
    assert "own" not in DETECTORS
    with pytest.raises(ConfigError):
        DetectPlan(OWN, (25,), (0,), "rows", BULK)


def test_custom_detectors_look_into_errors() -> None:
    """The text of an error has no known column: a narrowed detector counts there too, and hex is looked into."""
    made = DetectorSet.of([CustomDetector("own", r"EMP-\d+", columns=("note",), types=("text",))])
    assert holds_find(OWN, b"Key (note)=(EMP-77) already exists.", made)
    assert holds_find(OWN, b"Failing row contains (\\x" + b"EMP-77".hex().encode() + b").", made)
    assert not holds_find(OWN, b"syntax error", made)
    assert not holds_find((), b"EMP-77", made)


def test_every_type_that_may_be_named_is_looked_into() -> None:
    """No name in the list is an empty promise."""
    for name, oid in TYPES.items():
        value = {"json": b'"77"', "jsonb": b'"77"', "bytea": b"\\x3737"}.get(name, b"77")
        assert shown(CustomDetector("own", "77", types=(name,)), value, oid) != value

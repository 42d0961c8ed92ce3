"""JSON bodies: what masks name never comes out, everything else stays byte for byte, at every split; both builds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lockgate.govern.masking.bodies import BodyTerms, body_mask
from lockgate.govern.masking.json_paths import JsonPaths
from lockgate.model import ColumnMask, CustomDetector, DetectMask, KeyScope, MaskMethod
from tests.unit.govern.masking.bodies.documents import (
    CANARY,
    KEYS,
    NAME,
    Pair,
    cuts,
    documents,
    every_split,
    harmless,
    mask,
    run,
)

JSON = b"application/json"


def terms_of(kernel: Any, *masks: ColumnMask, detects: tuple[DetectMask, ...] = (), **more: Any) -> Any:
    bodies = kernel.load("lockgate.govern.masking.bodies")
    more = {"place": ("crm", "api", "people"), "scope": b"connection", "task_scope": b"task", "keys": KEYS} | more
    return bodies.BodyTerms(masks, detects, **more)


def masked(kernel: Any, terms: Any, data: bytes, at: tuple[int, ...] | list[int] = (), media: bytes = JSON) -> bytes:
    return run(kernel.load("lockgate.govern.masking.bodies").body_mask(terms, media), data, at)


def split_everywhere(kernel: Any, terms: Any, data: bytes, media: bytes = JSON) -> bytes:
    bodies = kernel.load("lockgate.govern.masking.bodies")
    return every_split(lambda: bodies.body_mask(terms, media), data)


@given(pair=documents(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_named_members_go_and_the_rest_stays(kernel: Any, pair: Pair, data: st.DataObject) -> None:
    """In any nesting, writing of names, case, repetition and split; also in documents that are strings."""
    raw, left = pair
    document = raw.encode()
    found = masked(kernel, terms_of(kernel, mask(NAME)), document, data.draw(cuts(len(document))))
    assert found == left.encode()
    assert CANARY.encode() not in found


@given(value=harmless(3), paths=st.lists(st.sampled_from(
    ["$.k0", "$..k1", "$.k0[*].k0", "$[0]", "$[1].k0", "$.*.k1", '$["k2"]', "$..k0[1]", "$.k0.k0.k1"]), min_size=1, max_size=3),
    data=st.data())
def test_paths_hide_what_they_hide_in_a_column(kernel: Any, value: str, paths: list[str], data: st.DataObject) -> None:
    """The same language and reading as for json columns, where nothing is a document in a string."""
    expected = JsonPaths(paths).apply(value, lambda raw: '"xxxx"' if raw[0] in '"[{n' else "0" if raw[0] not in "tf" else "false")
    document = value.encode()
    terms = terms_of(kernel, mask(paths=tuple(paths)))
    assert masked(kernel, terms, document, data.draw(cuts(len(document)))) == expected.encode()


EVERYTHING = json.dumps({
    "ssn": "219-09-9999", "\u0073sN": 5, "list": [{"ssn": [1, {"b": None}]}, -1.5e3, True, "é\u2028\"\\"],
    "text": json.dumps({"ssn": CANARY, "ok": ["é"]}), "mail": "jane.doe@example.org", "password": {"deep": [CANARY, 4111]},
}, ensure_ascii=False).encode()


@pytest.mark.parametrize("method", list(MaskMethod))
def test_every_split_gives_the_same(kernel: Any, method: MaskMethod) -> None:
    """For every method, with detectors, cut at every byte."""
    terms = terms_of(kernel, mask(NAME, method=method), detects=(DetectMask(("email", "password_assignment"), MaskMethod.PARTIAL),))
    found = split_everywhere(kernel, terms, EVERYTHING)
    assert CANARY.encode() not in found
    assert b"219-09-9999" not in found
    assert b"jane.doe@" not in found
    document = json.loads(found)
    assert document["list"][1:] == [-1500.0, True, "é\u2028\"\\"]


def test_masks_are_those_of_columns(kernel: Any) -> None:
    """One value under one label and key has one mask, in a text column and in a body."""
    found = json.loads(masked(kernel, terms_of(kernel, mask(NAME, method=MaskMethod.HASH, label="id")), b'{"ssn":"a"}'))
    values = kernel.load("lockgate.govern.masking.value_masks")
    column = kernel.load("lockgate.govern.masking.column_type").ColumnType(25)
    expected = values.value_mask(values.MaskTerms(MaskMethod.HASH, b"task", "id"), column, False, KEYS).replace(b"a")
    assert found["ssn"].encode() == expected
    wide = terms_of(kernel, mask(NAME, method=MaskMethod.HASH, label="id", scope=KeyScope.CONNECTION))
    assert json.loads(masked(kernel, wide, b'{"ssn":"a"}')) != found


@pytest.mark.parametrize(("glob", "document", "hidden"), [
    ("people.ssn", '{"ssn":1}', True), ("orders.ssn", '{"ssn":1}', False), ("orders.ssn", '{"Orders":[{"a":[{"ssn":1}]}]}', True),
    ("api.people.ssn", '{"ssn":1}', True), ("people.api.ssn", '{"ssn":1}', False), ("crm.*.people.ssn", '{"ssn":1}', True),
    ("erp.*.people.ssn", '{"ssn":1}', False), ("*.orders.*", '{"orders":{"ssn":1}}', True), ("s?n", '{"SSN":1}', True),
    ("crm.public.people.ssn", '{"ssn":1}', False), ("crm.public.people.ssn", '{"public":{"people":{"ssn":1}}}', True),
    ("a.b.ssn", '{"b":{"a":{"ssn":1}}}', False), ("a.b.ssn", '{"a":{"x":{"b":[{"ssn":1}]}}}', True), ("ſsn", '{"ssn":1}', True),
])
def test_a_glob_names_members_from_the_right(kernel: Any, glob: str, document: str, hidden: bool) -> None:
    """Its last part the member; the others, in their order, any names around it; of four the first the connection."""
    found = masked(kernel, terms_of(kernel, mask(glob)), document.encode())
    assert (found != document.encode()) is hidden


def test_names_are_searched(kernel: Any) -> None:
    """Regular expressions over a member's own name."""
    terms = terms_of(kernel, ColumnMask((), MaskMethod.NULL, names=("(?i)birth",), label="born"))
    assert masked(kernel, terms, b'{"dateOfBirth":"1970","a":{"Birth":{}},"b":1}') == b'{"dateOfBirth":null,"a":{"Birth":null},"b":1}'


def test_elements_are_counted_in_their_own_array(kernel: Any) -> None:
    """Whatever stands in the elements before."""
    terms = terms_of(kernel, mask(paths=("$[1].a", "$[2]")))
    assert split_everywhere(kernel, terms, b'[[7,8,9],{"a":1},{"a":[1,2]},{"a":2}]') == b'[[7,8,9],{"a":0},"xxxx",{"a":2}]'


def test_paths_begin_at_the_members_that_are_named(kernel: Any) -> None:
    """A mask with columns and paths hides parts of these members."""
    terms = terms_of(kernel, mask("doc", paths=("$.a",)))
    assert masked(kernel, terms, b'{"a":1,"doc":[{"a":1,"b":2}],"x":{"doc":"text"}}') == (
        b'{"a":1,"doc":[{"a":0,"b":2}],"x":{"doc":"xxxx"}}')


@pytest.mark.parametrize("method", list(MaskMethod))
@pytest.mark.parametrize("text", ["jane.doe@example.org", "2024-01-31", "a\"b", "é", "", "2024-01-31T10:00:00Z", "4111 1111 1111 1111", "x" * 2000])
def test_a_string_has_the_mask_that_json_columns_give_it(kernel: Any, method: MaskMethod, text: str) -> None:
    """However it is written, and whatever the method."""
    masks = kernel.load("lockgate.govern.masking.value_masks")
    leaf = masks.json_leaf(masks.MaskTerms(method, b"task", "a"), KEYS)
    for raw in (json.dumps(text), json.dumps(text, ensure_ascii=False), '"' + "".join(f"\\u{ord(one):04x}" for one in text) + '"'):
        found = masked(kernel, terms_of(kernel, mask(NAME, method=method, label="a")), b'{"ssn":' + raw.encode() + b"}")
        assert json.loads(found) == {"ssn": json.loads(leaf(raw))}


def test_two_masks_take_the_stronger(kernel: Any) -> None:
    """And count under both labels."""
    terms = terms_of(kernel, mask(NAME, method=MaskMethod.PARTIAL, label="a"), mask("people.ssn", method=MaskMethod.NULL, label="b"))
    body = kernel.load("lockgate.govern.masking.bodies").body_mask(terms, JSON)
    assert run(body, b'[{"ssn":1},{"ssn":2}]') == b'[{"ssn":null},{"ssn":null}]'
    assert body.masked == {"a, b": 2}


def test_without_keys_a_keyed_mask_redacts(kernel: Any) -> None:
    """Nothing is shown for want of a key."""
    assert masked(kernel, terms_of(kernel, mask(NAME, method=MaskMethod.TOKEN), keys=None), b'{"ssn":"a"}') == b'{"ssn":"xxxx"}'


def test_detectors_look_into_strings_numbers_and_names(kernel: Any) -> None:
    """With their escapes undone; what stands under a name that means a credential goes as a whole."""
    detects = (DetectMask(("credit_card", "email", "password_assignment", "ssn"), MaskMethod.REDACT),)
    data = (rb'{"a":"4111\u00201111 1111 1111","n":4111111111111111,"jane@example.org":1,"b":"x","pass\u0077ord":{"v":["s3cret"]},'
            rb'"ssn" : 219099999,"c":"j\u0061ne\u0040example.org","d":{"e":"+"}}')
    found = split_everywhere(kernel, terms_of(kernel, detects=detects), data)
    assert found == (rb'{"a":"xxxx","n":0,"xxxx":1,"b":"x","pass\u0077ord":{"v":["xxxx"]},"ssn" : 0,"c":"xxxx","d":{"e":"+"}}')


def test_a_policys_own_pattern_sees_through_escapes(kernel: Any) -> None:
    """Whatever can be written as an escape is read before it is searched."""
    custom = CustomDetector("quoted", 'say "[a-z]+"')
    terms = terms_of(kernel, detects=(DetectMask(("quoted",), MaskMethod.REDACT, (custom,)),))
    assert split_everywhere(kernel, terms, b'["x say \\"hello\\" y"]') == b'["x xxxx y"]'


BROKEN = [
    b"{", b"[", b"]", b"{}{}", b"[1,]", b'{"a":1,}', b'{"a"}', b"{1:2}", b"[01]", b"[1.]", b"[.5]", b"[1e]", b"[+1]", b"[-]", b"tru", b"nul1",
    b"True", b"'a'", b'"a', b'"\\x"', b'"\\u12g4"', b'"\t"', b'"\x00"', b"[1 2]", b"1 2", b"//x", b"", b" ", b'{"a":1 "b":2}', b"[1}", b"NaN",
    b"Infinity", b'"\xff"', b'"\xed\xa0\x80"', b'"\xc3', b"\xef\xbb", b"\xfe\xff\x00{", b'{"ssn":}', b'{"ssn" 1}', b'{"ssn":[}', b"[\x0b1]", b"{,}", b"[,1]",
]


@pytest.mark.parametrize("data", [one for one in BROKEN if one])
def test_what_is_no_json_is_refused(kernel: Any, data: bytes) -> None:
    """Strictly, at every split: a reader that is more lenient would see another document."""
    for at in range(len(data) + 1):
        with pytest.raises(ValueError):
            masked(kernel, terms_of(kernel, mask(NAME)), data, [at])


@given(data=st.lists(st.sampled_from(list(b'{}[]",:\\ 1e-.tfn\xc3\xa9"ssn"')), max_size=12).map(bytes), cut=st.integers(0, 12))
@example(data=b'{"ssn":1}', cut=3)
def test_it_reads_what_the_standard_library_reads(kernel: Any, data: bytes, cut: int) -> None:
    """No more and no less, but for the empty body, which is nothing."""
    try:
        json.loads(data.decode(), parse_constant=lambda word: json.loads("x" + word))
        is_json = True
    except ValueError:
        is_json = not data
    try:
        masked(kernel, terms_of(kernel, mask(NAME)), data, [cut])
    except ValueError:
        assert not is_json
    else:
        assert is_json


def test_depth_is_bounded(kernel: Any) -> None:
    """512 objects and arrays inside each other, hidden ones among them; so are documents in strings."""
    for name in (b'"a"', b'"ssn"'):
        deep = b"[" * 510 + b"{" + name + b":{}}" + b"]" * 510
        masked(kernel, terms_of(kernel, mask(NAME)), deep)
        with pytest.raises(ValueError, match="too deeply"):
            masked(kernel, terms_of(kernel, mask(NAME)), b"[" + deep + b"]")
    text = json.dumps({"ssn": CANARY})
    for _ in range(7):
        text = json.dumps({"t": text})
    assert CANARY.encode() not in masked(kernel, terms_of(kernel, mask(NAME)), text.encode())


def test_what_is_held_is_bounded(kernel: Any) -> None:
    """A string that must be seen whole is refused above the limit; one that is hidden or passes may be of any length."""
    terms = terms_of(kernel, mask(NAME, method=MaskMethod.HASH), limit=100)
    long = b"a" * 1000
    cut = list(range(0, 1000, 10))
    assert masked(kernel, terms, b'{"b":"' + long + b'"}', cut) == b'{"b":"' + long + b'"}'
    assert masked(kernel, terms, b'{"ssn":"' + long + b'"}', cut) == b'{"ssn":"xxxx"}'
    assert masked(kernel, terms, b'{"ssn":["' + long + b'"]}', cut) == b'{"ssn":"xxxx"}'
    for data, detects in ((b'{"' + long + b'":1}', ()), (b'{"b":" {' + long + b'"}', ()),
                          (b'["' + long + b'"]', (DetectMask(("email",), MaskMethod.REDACT),))):
        with pytest.raises(ValueError, match="too long"):
            masked(kernel, terms_of(kernel, mask(NAME), detects=detects, limit=100), data, cut)


def test_after_a_refusal_nothing_comes(kernel: Any) -> None:
    """A body that was refused stays refused."""
    body = kernel.load("lockgate.govern.masking.bodies").body_mask(terms_of(kernel, mask(NAME)), JSON)
    with pytest.raises(ValueError):
        body.feed(b"[}")
    with pytest.raises(ValueError):
        body.feed(b"[]")


@pytest.mark.parametrize(("data", "left"), [
    (b'{"ssn":1}\n{"ssn":"a"}\n', b'{"ssn":0}\n{"ssn":"xxxx"}\n'), (b'\x1e{"ssn":1}\n\x1e[]\n', b'\x1e{"ssn":0}\n\x1e[]\n'),
    (b"", b""), (b"\n\n1\n\"a\"\ntrue", b"\n\n1\n\"a\"\ntrue"), (b'{"ssn":[\n1]}\r\n{}', b'{"ssn":"xxxx"}\r\n{}'),
])
def test_documents_follow_each_other(kernel: Any, data: bytes, left: bytes) -> None:
    """On lines, or behind record separators."""
    for media in (b"application/x-ndjson", b"application/json-seq"):
        assert split_everywhere(kernel, terms_of(kernel, mask(NAME)), data, media) == left
    with pytest.raises(ValueError):
        masked(kernel, terms_of(kernel, mask(NAME)), b"[]\n[", media=b"application/jsonl")


def test_a_byte_order_mark_passes(kernel: Any) -> None:
    """RFC 8259, 8.1: a reader may ignore it."""
    assert split_everywhere(kernel, terms_of(kernel, mask(NAME)), b'\xef\xbb\xbf{"ssn":1}') == b'\xef\xbb\xbf{"ssn":0}'


def test_other_encodings_are_refused() -> None:
    """JSON is UTF-8; what says that it is something else could be read as something else."""
    with pytest.raises(ValueError):
        body_mask(BodyTerms((mask(NAME),)), JSON, b"utf-16")
    assert body_mask(BodyTerms((mask(NAME),)), b"application/problem+json", b'"UTF-8"') is not None
    assert body_mask(BodyTerms((mask(NAME),)), b"image/png") is None

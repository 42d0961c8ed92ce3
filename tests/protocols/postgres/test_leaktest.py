"""The leak test's data and its reading of messages."""

from __future__ import annotations

import json
import re
from collections import Counter

import pgparse
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.errors import ConfigError, RemoteProtocolError
from lockgate.protocols.postgres import codec
from lockgate.protocols.postgres import messages as m
from lockgate.protocols.postgres.leaktest import SUITE
from lockgate.protocols.postgres.leaktest.corpus import forms_of, templates, wrong_for
from lockgate.protocols.postgres.leaktest.transcript import Transcript
from lockgate.wire.leaktest import Shape
from tests.protocols.postgres.support import row

SEEDS = {"known", "against masks at the source"}
GROUND = SUITE.scratch()
MUTATING = re.compile(r"^\s*(?:INSERT|UPDATE|DELETE|MERGE|CREATE|ALTER|DROP|TRUNCATE|REFRESH|CALL|REINDEX)\b", re.IGNORECASE)


def statements(shape: Shape) -> tuple[str, ...]:
    return shape.right.statements


def test_there_are_shapes_of_every_kind() -> None:
    """Those that are known, and many more than a hundred of our own."""
    groups = Counter(template.group for template in templates())
    assert sum(groups.values()) >= 800
    assert sum(count for group, count in groups.items() if group not in SEEDS) >= 500
    assert len(SUITE.ways) == 4
    assert len(GROUND.benign) >= 70


def test_shapes_are_named_once() -> None:
    """A line of the report means one shape."""
    assert [name for name, count in Counter((shape.group, shape.name) for shape in GROUND.shapes).items() if count > 1] == []


def test_every_hole_is_filled() -> None:
    """No placeholder goes to a server."""
    holes = re.compile(r"\{(?:rel|col|only|schema|other|guess|head|tail|digits)\}")
    texts = [text for shape in (*GROUND.shapes, *GROUND.benign) for shot in (shape.right, shape.wrong) if shot
             for text in (*shot.statements, *(word for words in shot.parameters for word in words))]
    assert [text for text in (*texts, *GROUND.build, *GROUND.harvest, GROUND.state) if holes.search(text)] == []


def test_every_statement_is_one_that_the_grammar_knows() -> None:
    """A shape with a typing mistake would be refused everywhere and prove nothing."""
    for shape in (*GROUND.shapes, *GROUND.benign):
        for text in statements(shape):
            assert len(pgparse.parse(text)) == 1, text


def test_what_changes_something_is_marked() -> None:
    """Every shape that changes the ground is rolled back or looked after."""
    assert [shape.name for shape in GROUND.shapes if not shape.writes and not shape.bare
            and any(MUTATING.search(text) for text in statements(shape))] == []


def test_a_guess_comes_with_a_wrong_one() -> None:
    """Right and wrong differ in the value only, and the wrong one is of the same form."""
    value = GROUND.canaries[0].text
    assert {len(value)} == {len(wrong_for(value)), 14}
    assert all(one != other for one, other in zip(value, wrong_for(value), strict=True) if one.isdigit())
    swap = dict(zip(forms_of(value).values(), forms_of(wrong_for(value)).values(), strict=True))
    forms = re.compile("|".join(sorted(map(re.escape, swap), key=len, reverse=True)))
    for shape in GROUND.shapes:
        if shape.wrong is not None:
            texts = json.dumps([shape.right.statements, shape.right.parameters])
            assert forms.sub(lambda found: swap[found[0]], texts) == json.dumps(
                [shape.wrong.statements, shape.wrong.parameters]), shape.name


def test_canaries_are_new_in_every_run() -> None:
    """So that a value that was seen before proves nothing."""
    assert not {canary.text for canary in SUITE.scratch().canaries} & {canary.text for canary in SUITE.scratch().canaries}


def test_real_columns_are_only_read() -> None:
    """On somebody's own columns nothing is fired that could change or make anything, and names are quoted."""
    ground = SUITE.columns(['crm.people.e"mail'], ["ann@example.com"], "id = 5")
    assert ground.is_read_only
    assert ground.build == ground.drop == ()
    assert len(ground.shapes) > 150
    for shape in ground.shapes:
        assert not shape.writes
        assert not shape.bare
        assert not any(MUTATING.search(text) for text in statements(shape))
        assert any('"crm"."people"' in text for text in statements(shape))
    assert any('"e""mail"' in text and " WHERE id = 5" in text for shape in ground.shapes for text in statements(shape))


@pytest.mark.parametrize(("names", "values", "words"), [
    (["people.email"], ["ann@example.com"], "is not a column"), (["a.b.c"], [], "there is no canary"),
    (["a.b.c"], ["ann"], "at least 6"),
])
def test_what_cannot_be_tested_is_told(names: list[str], values: list[str], words: str) -> None:
    """Each has its words."""
    with pytest.raises(ConfigError, match=words):
        SUITE.columns(names, values, "")


def copied(*pieces: bytes) -> Transcript:
    transcript = Transcript()
    for piece in pieces:
        transcript.add(m.COPY_DATA, piece)
    transcript.add(m.COPY_DONE, b"")
    return transcript


def test_rows_of_a_copy_are_cells() -> None:
    """Text, CSV and binary rows are cut into cells, across the borders of messages."""
    assert copied(b"1\tann\n2\tb", b"ob\n").rows == [(b"1", b"ann"), (b"2", b"bob")]
    assert copied(b"1,ann\n").rows == [(b"1", b"ann")]
    head = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    row = b"\0\2\0\0\0\1\1\xff\xff\xff\xff"
    assert copied(head + row[:4], row[4:] + b"\xff\xff").rows == [(b"\1", None)]


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_copy_data_is_looked_at_to_its_end(pieces: list[bytes]) -> None:
    """Broken data raises nothing and loses nothing that was sent as text."""
    rows = copied(*pieces).rows
    assert isinstance(rows, list)
    rows = copied(b"PGCOPY\n\xff\r\n\0" + bytes(8), *pieces).rows
    assert isinstance(rows, list)


@given(st.lists(st.none() | st.binary(max_size=20), max_size=5), st.sampled_from((0, 1)))
def test_what_the_client_writes_is_what_a_server_reads(values: list[bytes | None], result_format: int) -> None:
    """A Bind frame comes apart into what it was made of, and so does a row."""
    parts = codec.Bind(b"portal", b"statement", (), tuple(values), (result_format,))
    assert codec.read_bind(*whole(codec.bind(parts))) == parts
    assert codec.read_row(row(*values)[5:]) == tuple(values)
    assert codec.read_target(*whole(codec.target(m.DESCRIBE, b"S", b"name"))) == (ord("S"), b"name")


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\1", b"\0\1\0\0\0\5abc", b"\0\0rest", b"\0\1\xff\xff\xff\xfe"])
def test_a_row_that_does_not_add_up_is_refused(body: bytes) -> None:
    """Lengths are checked before they are believed."""
    with pytest.raises(RemoteProtocolError):
        codec.read_row(body)


def whole(frame: bytes) -> tuple[bytes, int, int]:
    return frame, 0, len(frame)


def test_a_notice_of_a_review_ends_the_waiting() -> None:
    """Nobody has to wait for a person's decision about a leak shape."""
    transcript = Transcript()
    transcript.add(m.NOTICE_RESPONSE, b"SNOTICE\0C01000\0Mthis statement waits for a person's approval, ticket T\0\0")
    assert transcript.is_held

"""Exports of a log that is not what it should be: said in words, whatever the leaf is; no file is left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lockgate.audit.entry import canonical
from lockgate.audit.packaging.asking import Asked
from lockgate.audit.packaging.export import export_package
from lockgate.errors import AuditError
from tests.unit.audit.logs import copied, edit, sample

A = "a" * 16
AT = 14     # the end of session b, behind the range of session a

MARK = {"type": "rec_mark", "sid": A}
CASES: dict[str, Any] = {
    "no JSON": b'{"type":"rec_mark","type":"key_rotate","type":"erasure","type":"session_begin","payload":{',
    "no UTF-8": b'{"type":"rec_mark","type":"key_rotate","type":"erasure","payload":{"\xff"}}',
    "an array": [{"type": "rec_mark"}, {"type": "key_rotate"}, {"type": "erasure"}],
    "a mark without data": MARK,
    "a mark of a list": {**MARK, "data": []},
    "a mark without a session": {"type": "rec_mark", "data": {"stream": "sql", "chunks": 1}},
    "a mark of many sessions": {**MARK, "sid": [A], "data": {"stream": "sql", "chunks": 1}},
    "a mark of no stream": {**MARK, "data": {"stream": 5, "chunks": 1}},
    "a mark of no number": {**MARK, "data": {"stream": "sql", "chunks": "1"}},
    "a mark of fewer than none": {**MARK, "data": {"stream": "sql", "chunks": -1}},
    "a mark of half a chunk": {**MARK, "data": {"stream": "sql", "chunks": True}},
    "a mark of a file elsewhere": {**MARK, "data": {"stream": "../../other", "chunks": 1}},
    "a mark of a session elsewhere": {**MARK, "sid": "..", "data": {"stream": "sql", "chunks": 1}},
    "a key without data": {"type": "key_rotate"},
    "a key of text": {"type": "key_rotate", "data": "x"},
    "a key without a successor": {"type": "key_rotate", "data": {"old": "x"}},
    "a key of numbers": {"type": "key_rotate", "data": {"old": 1, "new": 2}},
    "an erasure without data": {"type": "erasure"},
    "an erasure of text": {"type": "erasure", "data": {"ranges": "0-4"}},
    "an erasure backwards": {"type": "erasure", "data": {"ranges": [[4, 0]]}},
}
ASKED = {"everything": Asked(), "a session": Asked(session=A), "a person": Asked(subject="alice"),
         "a period": Asked(start=0, end=4_000_000_000_000)}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "log"
    sample(folder)
    return folder


def tried(folder: Path, asked: Asked) -> str | None:
    """What the export says, or None where it made a package. Anything but an `AuditError` goes through."""
    target = folder.parent / "evidence.tar"
    target.unlink(missing_ok=True)
    try:
        export_package(folder, asked, target)
    except AuditError as error:
        assert not target.exists()
        assert list(folder.parent.glob(".package-*")) == []
        return str(error)
    return None


@pytest.mark.parametrize("name", CASES)
def test_a_leaf_that_is_not_what_it_should_be(log: Path, tmp_path: Path, name: str) -> None:
    """In the range or behind it: a package that the verifier judges, or a clear no where the leaf has to be understood."""
    folder = copied(log, tmp_path / "log")
    leaf = CASES[name] if isinstance(CASES[name], bytes) else canonical(CASES[name])
    answers = {}
    for at in (4, AT):      # inside and behind session a
        edit(folder, ("UPDATE entries SET leaf = ? WHERE idx = ?", (leaf, at)))
        answers |= {(question, at): tried(folder, asked) for question, asked in ASKED.items()}
    if name.startswith(("a key", "no ")):
        assert all(answers.values()), answers
    elif name.startswith("a mark"):
        assert answers["everything", 4]
        assert answers["a session", 4]
    elif name.startswith("an erasure"):
        assert answers["a session", AT]
    assert {said for said in answers.values() if said and "damaged" not in said} == set()


@pytest.mark.parametrize("leaf", [
    {}, {"type": 5, "payload": {}, "ticket": []}, {"type": "session_begin"}, {"type": "session_begin", "sid": [], "principal": {}},
    {"type": "session_end"}, {"type": "session_end", "sid": {}}, {"type": "review", "sid": [], "ticket": 5, "payload": {}},
    {"payload": 5, "x": {"payload": {}}}, {"type": "intent", "sid": [A], "ticket": "T1", "payload": {}}, {"time": "x"}, {"time": None},
], ids=lambda leaf: canonical(leaf).decode())
def test_fields_of_another_form_make_no_traceback(log: Path, tmp_path: Path, leaf: dict[str, Any]) -> None:
    """Whatever is asked, wherever it stands."""
    folder = copied(log, tmp_path / "log")
    for at in (0, 3, 8, 15):
        edit(folder, ("UPDATE entries SET leaf = ? WHERE idx = ?", (canonical(leaf), at)))
        for asked in ASKED.values():
            said = tried(folder, asked)
            assert said is None or "damaged" in said


def test_a_mark_cannot_keep_the_export_busy(tmp_path: Path) -> None:
    """A mark that counts more chunks than there can be ends with the file."""
    folder = tmp_path / "log"
    sample(folder)
    path = folder / "recordings" / A / "sql.rec"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"lockgate/rec/v1\n")
    edit(folder, ("UPDATE entries SET leaf = ? WHERE idx = 4",
                  (canonical({**MARK, "data": {"stream": "sql", "chunks": 2**53 - 1}}),)))
    assert tried(folder, Asked()) is None


def test_rows_of_another_form_are_damage(log: Path, tmp_path: Path) -> None:
    """A store that was made anew, without types: leaves, hashes and payloads of none that can be."""
    for column, table, value in (("leaf", "entries", "text"), ("leaf", "entries", None), ("hash", "entries", "text"),
                                 ("hash", "entries", 5), ("secret", "payload_keys", "text"), ("sealed", "payloads", 5)):
        folder = copied(log, tmp_path / f"{column} {value}")
        edit(folder, f"CREATE TABLE other AS SELECT * FROM {table}", f"DROP TABLE {table}", f"ALTER TABLE other RENAME TO {table}",
             (f"UPDATE {table} SET {column} = ? WHERE idx = 3", (value,)))
        for asked in (Asked(), Asked(session=A)):
            assert "damaged" in (tried(folder, asked) or "damaged"), (column, value)
        folder.joinpath("log.db").unlink()


def test_what_is_whole_is_exported(log: Path) -> None:
    """The cases above fail for the leaf that was put there."""
    assert [tried(log, asked) for asked in ASKED.values()] == [None] * len(ASKED)

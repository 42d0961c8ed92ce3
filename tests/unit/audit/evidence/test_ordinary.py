"""The short way through ordinary records says nothing that the long way does not say."""

from __future__ import annotations

import io
import itertools
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockgate.audit.entry import canonical
from lockgate.audit.evidence import ordinary
from lockgate.audit.evidence.disclosed import any_payload, plain_payload
from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.leaf import is_hash, parse_leaf
from lockgate.audit.evidence.ledger import LogLedger
from lockgate.audit.evidence.merkle import leaf_hash
from lockgate.audit.evidence.ordinary import OrdinaryLeaf, Passage
from lockgate.audit.packaging.standalone import amalgamated, evidence_sources, standalone
from lockgate.audit.storage.sqlite import open_source
from tests.unit.audit.logs import Driven
from tests.unit.audit.packages import changed, exported, members
from tests.unit.audit.tampering.ordinary import NOT_ORDINARY, REQUEST, VARIANTS

SOURCES = [canonical(one) for one in VARIANTS + NOT_ORDINARY]
PIECES = [b'"', b"\\", b",", b"0", b"-", b".5", b"e1", b" ", b"{", b"}", b":", b"\xff", b'","prev":"', b'"index":', b'"time":', b'"v":1,',
          b'"sid":"', b'"size":', b"_", b"+", b"\n", b"\x00"]


def require_sound(reader: OrdinaryLeaf, leaf: bytes) -> None:
    """What the short way reads is what the long way reads."""
    if not reader.read(leaf) or not is_hash(reader.prev.decode("latin-1")):     # no ledger takes it without its hash
        return
    record = parse_leaf(leaf)
    assert (reader.index, reader.number, reader.time) == (record["index"], record["sseq"], record["time"])
    assert (reader.sid.decode(), reader.prev.decode()) == (record["sid"], record["prev"])
    assert record["type"] == ("intent" if reader.is_request else "outcome")
    assert not {"clock", "ticket", "binding", "refusal", "root"} & set(record)
    if reader.is_request:
        assert record["decision"] == "allow"
        assert record["payload"] == {"commitment": reader.commitment.decode(), "size": reader.size}
    else:
        assert reader.record == record["record"]
        assert "payload" not in record


@pytest.mark.parametrize("places", [ordinary._REQUEST, ordinary._OUTCOME])
def test_the_samples_are_ordinary_leaves(places: list[Any]) -> None:
    """What passages are judged in is a leaf itself, and each of its own passages is taken wherever it stands."""
    leaf = b"".join([place.text + place.filled for place in places])
    assert canonical(parse_leaf(leaf)) == leaf
    assert OrdinaryLeaf().read(leaf)
    for number, place in enumerate(places):
        assert ordinary._is_ordinary(leaf, places)
        end = 1 + len(place.text)
        assert Passage(places, number).other(b"x" + place.text if not place.name else b"x" + place.text + b"rest", 1, b"") == end


@pytest.mark.parametrize("record", VARIANTS)
def test_ordinary_records_are_read_the_short_way(record: dict[str, Any]) -> None:
    """The two kinds of record that a log is full of, with every field that they may have."""
    reader, leaf = OrdinaryLeaf(), canonical(record)
    for _ in range(2):      # judged, then known
        assert reader.read(leaf)
        require_sound(reader, leaf)


@pytest.mark.parametrize("record", NOT_ORDINARY)
def test_what_means_more_goes_the_long_way(record: dict[str, Any]) -> None:
    """A refusal, a ticket, a payload that was not kept, a clock that went back, and whatever is no leaf."""
    reader = OrdinaryLeaf()
    for leaf in map(canonical, VARIANTS):
        reader.read(leaf)
    for _ in range(2):
        if reader.read(canonical(record)):
            assert not is_hash(reader.prev.decode("latin-1"))


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """A leaf with something cut out, put in, or taken from another one."""
    leaf = draw(st.sampled_from(SOURCES))
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, len(leaf)))
        end = min(len(leaf), begin + draw(st.integers(0, 3)))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=2) | st.just(b"") | st.builds(
            lambda other, first, length: other[first:first + length], st.sampled_from(SOURCES), st.integers(0, 560), st.integers(0, 80)))
        leaf = leaf[:begin] + piece + leaf[end:]
    return leaf


KNOWING = OrdinaryLeaf()


@settings(max_examples=600, deadline=None)
@given(_mutated())
def test_what_is_read_the_short_way_is_a_leaf(leaf: bytes) -> None:
    """Whatever was altered: a reader that knows nothing and one that has met everything so far read what the parser reads."""
    require_sound(OrdinaryLeaf(), leaf)
    require_sound(KNOWING, leaf)


def test_every_passage_of_one_leaf_fits_into_another() -> None:
    """Passages are judged one by one, so any row of them is a leaf: each altered one in each leaf that was altered elsewhere."""
    reader = OrdinaryLeaf()
    for leaf in SOURCES:
        reader.read(leaf)
    cuts = [[0, *sorted(leaf.index(name) for name in (b'"index"', b'"prev"', b'"sid"', b'"time"') if name in leaf), len(leaf)] for leaf in SOURCES]
    read = 0
    for one, first in zip(SOURCES, cuts, strict=True):
        for other, second in zip(SOURCES, cuts, strict=True):
            for number in range(min(len(first), len(second)) - 1):
                mixed = one[:first[number]] + other[second[number]:]
                require_sound(reader, mixed)
                read += reader.read(mixed)
    assert read > len(VARIANTS) ** 2


def test_a_passage_that_has_no_end_is_none() -> None:
    """A leaf that stops anywhere is not read."""
    for leaf in map(canonical, VARIANTS):
        assert not any(OrdinaryLeaf().read(leaf[:end]) for end in range(len(leaf)))


def test_what_is_remembered_is_bounded() -> None:
    """A log whose passages never come again is read as well, and does not fill the memory."""
    reader = OrdinaryLeaf()
    for number in range(ordinary._KNOWN_LIMIT + 100):
        assert reader.read(canonical({**REQUEST, "objects": [f"t{number}"]}))
    assert all(reader.read(canonical({**REQUEST, "objects": [f"t{number}"]})) for number in (0, ordinary._KNOWN_LIMIT))


# ---------------------------------------------------------------- ledgers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of sessions that take turns."""
    folder = tmp_path_factory.mktemp("ordinary") / "log"
    driven = Driven(folder)
    for session in ("a" * 16, "b" * 16, 'c"c'):
        driven.begin(session)
    for number in range(120):
        session = 'c"c' if number % 12 == 5 else "ab"[number % 2] * 16
        if number % 12 == 6:
            driven.intent(session, decision="deny", refusal="no")
        else:
            driven.run(session, f"SELECT {number}", objects=(f"t{number % 4}",))
    driven.log.close()
    return folder


@pytest.fixture(scope="module")
def leaves(folder: Path) -> list[bytes]:
    """The same, leaf by leaf."""
    with open_source(folder) as source:
        return [leaf for _, _, leaf in source.leaves()]


def _state(ledger: LogLedger) -> object:
    sessions = {sid: (one.next, one.last, one.digest, one.frontier.root(), sorted(one.open), sorted(one.refused))
                for sid, one in ledger.open.items()}
    return sessions, ledger.intents, ledger.sessions, ledger.partial, ledger.last_time, ledger.ended, ledger.stepped


def _taken(leaves: list[bytes], first: int, *, is_short: bool) -> tuple[object, int]:
    """What a ledger makes of leaves, and how many of them it took the short way."""
    ledger, short = LogLedger(first), 0
    for index, leaf in enumerate(leaves, first):
        try:
            if is_short and ledger.follows(index, leaf):
                ledger.advance(index, leaf_hash(leaf))
                short += 1
            else:
                ledger.take(index, parse_leaf(leaf), leaf_hash(leaf))
        except EvidenceError as error:
            return (error.check, error.message, error.index, _state(ledger)), short
    return _state(ledger), short


def test_a_ledger_is_the_same_by_both_ways(leaves: list[bytes]) -> None:
    """The whole log, and from any entry on."""
    for first in range(0, len(leaves), 7):
        short, count = _taken(leaves[first:], first, is_short=True)
        assert short == _taken(leaves[first:], first, is_short=False)[0]
        assert first or count > 180


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_ledger_finds_the_same_fault_by_both_ways(leaves: list[bytes], data: st.DataObject) -> None:
    """A record left out, put in twice, in another's place, or with another number in it."""
    altered = list(leaves)
    for _ in range(data.draw(st.integers(1, 2))):
        at, other = (data.draw(st.integers(0, len(altered) - 1)) for _ in range(2))
        kind = data.draw(st.sampled_from(["out", "in", "over", "swap", "digit"]))
        if kind == "out":
            del altered[at]
        elif kind == "in":
            altered.insert(at, altered[other])
        elif kind == "over":
            altered[at] = altered[other]
        elif kind == "swap":
            altered[at], altered[other] = altered[other], altered[at]
        else:
            digits = [place for place, code in enumerate(altered[at]) if code in b"0123456789"]
            place = data.draw(st.sampled_from(digits))
            altered[at] = altered[at][:place] + b"%d" % data.draw(st.integers(0, 11)) + altered[at][place + 1:]
    first = data.draw(st.sampled_from([0, 0, 0, 5, 30]))
    assert _taken(altered[first:], first, is_short=True)[0] == _taken(altered[first:], first, is_short=False)[0]


# ---------------------------------------------------------------- packages


_NUMBERS = itertools.count()


def _program(text: str) -> dict[str, Any]:
    module = types.ModuleType(f"verifier_{next(_NUMBERS)}")
    sys.modules[module.__name__] = module       # dataclasses look for the module of their class there
    exec(compile(text, "verify.py", "exec", dont_inherit=True), module.__dict__)
    return module.__dict__


@pytest.fixture(scope="module")
def judges() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The verifier, and the verifier without its short ways."""
    sources = evidence_sources()
    for name, line in (("ledger", "        if not seen.read(leaf):\n"), ("disclosed", "    if not line.startswith(_LINE_HEAD):\n")):
        assert sources[name].count(line) == 1
        indent = line[:len(line) - len(line.lstrip())]
        sources[name] = sources[name].replace(line, f"{indent}if True:\n")

    def judge(space: dict[str, Any]) -> Callable[..., Any]:
        return lambda package, key: space["report_json"](space["verify_package"](io.BytesIO(package), space["Pins"](key), "package"))

    return judge(_program(standalone())), judge(_program(amalgamated(sources)))


def test_a_package_has_the_same_report_by_both_ways(
    judges: tuple[Callable[..., Any], Callable[..., Any]], folder: Path,
) -> None:
    """Honest packages, and such as differ in one byte of a leaf, a hash or a payload: every word of the report is the same."""
    short, long = judges
    key = (folder / "log.vkey").read_text()
    seen = set[str]()
    for package in (exported(folder), exported(folder, payloads=False), exported(folder, session="b" * 16)):
        assert short(package, key) == long(package, key)
        assert short(package, key)["verdict"] == "verified"
        for name in ("leaves.jsonl", "leaves.sha256", "payloads.jsonl"):
            size = len(members(package)[name])
            for at in range(0, size, max(1, size // 12)):
                altered = changed(package, name, lambda data, at=at: data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])  # type: ignore[misc]
                report = short(altered, key)
                assert report == long(altered, key)
                seen |= {found["check"] for found in report["findings"]}
    assert len(seen) > 3


def test_ordinary_records_are_not_parsed(folder: Path) -> None:
    """Verifying reads JSON a few times for each kind of passage, not for each record: the speed of it hangs on this."""
    space = _program(standalone())
    counts = {"parse_leaf": 0, "canonical_object": 0}
    for name in counts:
        def counted(*given: Any, name: str = name, call: Callable[..., Any] = space[name]) -> Any:
            counts[name] += 1
            return call(*given)

        space[name] = counted
    report = space["verify_package"](io.BytesIO(exported(folder)), space["Pins"]((folder / "log.vkey").read_text()), "package")
    assert not report.findings
    # Of some 240 records: those of sessions and processes, denied requests, a session whose id JSON escapes, and passages.
    assert report.entries > 230
    assert counts["parse_leaf"] < 80
    assert counts["canonical_object"] < counts["parse_leaf"] + 20


# ---------------------------------------------------------------- payloads


LINE = canonical({"index": 5, "payload": '{"text":"SELECT \\n \'ü\'"}', "salt": "0f" * 32})


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_a_disclosed_payload_is_the_same_by_both_ways(data: st.DataObject) -> None:
    """What is taken by its parts is what the parser takes, and is behind the one before it."""
    line = LINE
    for _ in range(data.draw(st.integers(0, 2))):
        begin = data.draw(st.integers(0, len(line)))
        piece = data.draw(st.sampled_from(PIECES) | st.binary(max_size=2))
        line = line[:begin] + piece + line[begin + data.draw(st.integers(0, 2)):]
    last = data.draw(st.integers(-1, 60))
    found = plain_payload(line, last)
    if found is not None:
        wanted = any_payload(line, last)
        assert (found.at, found.disclosed.salt, found.disclosed.payload) == (
            wanted.at, wanted.disclosed.salt, wanted.disclosed.payload)
        assert found.at > last


def test_a_disclosed_payload_goes_the_short_way() -> None:
    """The line that an export writes, whatever is in the payload."""
    for payload in ("{}", '{"text":"\\\\ ü \u2028"}', ""):
        for index in (0, 5, 10**14):
            found = plain_payload(canonical({"index": index, "payload": payload, "salt": "0f" * 32}), -1)
            assert found is not None
            assert (found.at, found.disclosed.salt, found.disclosed.payload) == (index, b"\x0f" * 32, payload.encode())
    assert plain_payload(LINE, 5) is None
    assert plain_payload(LINE.replace(b"0f", b"0F"), -1) is None
    assert plain_payload(canonical({"index": 10**15, "payload": "", "salt": "0f" * 32}), -1) is None

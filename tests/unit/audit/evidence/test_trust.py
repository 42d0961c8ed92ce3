"""Trust notes: one pinned root key, and everything else from it."""

from __future__ import annotations

import pytest

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import parse_note
from lockgate.audit.evidence.trust import parse_trust, parse_trust_note
from tests.unit.audit.evidence.keys import LOG, W1, W2, NoteSigner, body, note

ROOT_KEY = NoteSigner("acme.test/audit")


class _Second(NoteSigner):
    """Another key of the log's name."""

    def __init__(self) -> None:
        super().__init__("log.test/two")
        self.key = self.key._replace(name="log.test/one")
        self.vkey = self.key.vkey


NEW = _Second()
TEXT = (
    f"lockgate/trust/v1\nserial 3\nlog {LOG.vkey} 1-99\nlog {NEW.vkey} 100-\n"
    f"witness a {W1.vkey} https://a.test/\nwitness b {W2.vkey}\ngroup g 2 a b\nquorum g\ntsa t {'ab' * 32}\n"
)


def signed(text: str, key: NoteSigner = ROOT_KEY) -> str:
    return f"{text}\n{key.line(text)}"


def test_a_trust_note_says_everything_about_a_log() -> None:
    """Origin, key for each size, witnesses, quorum and authorities; written out it is the same text."""
    trust = parse_trust_note(signed(TEXT), ROOT_KEY.vkey)
    assert (trust.serial, trust.origin, trust.text()) == (3, "log.test/one", TEXT)
    assert [trust.key_for(size) for size in (1, 99, 100, 10**9)] == [LOG.key, LOG.key, NEW.key, NEW.key]
    assert trust.policy.is_quorum({"a", "b"})
    assert not trust.policy.is_quorum({"a"})
    assert trust.authorities[0].fingerprint == b"\xab" * 32
    with pytest.raises(EvidenceError):
        trust.key_for(0)


def test_a_checkpoint_is_trusted_by_the_key_of_its_size_only() -> None:
    """The old key is refused where the new one's range begins, and the other way round."""
    trust = parse_trust_note(signed(TEXT), ROOT_KEY.vkey)
    for size, log in ((99, LOG), (100, NEW)):
        assert trust.open(parse_note(note(text=body(size), log=log))).size == size
    for size, log in ((100, LOG), (99, NEW)):
        with pytest.raises(EvidenceError) as caught:
            trust.open(parse_note(note(text=body(size), log=log)))
        assert caught.value.verdict == "untrusted"


def test_only_the_pinned_root_is_believed() -> None:
    """Another root, another text, a second signature or a broken key: nothing of the note counts."""
    other = NoteSigner("acme.test/audit2")
    for text, root in (
        (signed(TEXT), other.vkey), (signed(TEXT, other), ROOT_KEY.vkey), (signed(TEXT).replace(" 1-99", " 1-98"), ROOT_KEY.vkey),
        (signed(TEXT) + other.line(TEXT), ROOT_KEY.vkey), (TEXT, ROOT_KEY.vkey), (signed(TEXT), "x"),
        (signed(TEXT), W1.vkey),
    ):
        with pytest.raises(EvidenceError) as caught:
            parse_trust_note(text, root)
        assert (caught.value.check, caught.value.verdict) == ("trust", "untrusted")


@pytest.mark.parametrize(("old", "new"), [
    ("trust/v1", "trust/v2"), ("serial 3", "serial 03"), ("serial 3\n", ""), ("serial 3", "serial  3"),
    (" 1-99", " 2-99"), (" 1-99", " 1-98"), (" 1-99", " 1-100"), (" 1-99", " 1-"), (" 1-99", ""), (" 1-99", " 99"),
    (" 100-", " 100-99"), (" 100-", " 0100-"), (NEW.vkey, W1.vkey), (NEW.vkey, LOG.vkey),
    (NEW.vkey, NoteSigner("log.test/other").vkey), ("quorum g", "quorum h"), ("quorum g\n", ""), ("group g 2", "group g 3"),
    ("tsa t ", "tsa t x"), ("tsa t " + "ab" * 32, "tsa t " + "AB" * 32), ("\ntsa", "\ntsa t " + "cd" * 32 + "\ntsa"),
    ("\nwitness a", "\n# note\nwitness a"), ("\nwitness a", "\nunknown x\nwitness a"), ("\nwitness a", "\nserial 4\nwitness a"),
    ("quorum g\n", "quorum g\nwitness c " + NoteSigner("c", 4).vkey + "\n"), ("https://a.test/\n", "https://a.test/ \n"),
])
def test_a_text_out_of_shape_is_refused(old: str, new: str) -> None:
    """Gaps, overlaps, other names, repetition, order and spacing are all fixed."""
    assert old in TEXT
    with pytest.raises(EvidenceError):
        parse_trust(TEXT.replace(old, new, 1))


def test_the_last_size_may_be_closed() -> None:
    """A log that has ended has a last size, and nothing above it is trusted."""
    trust = parse_trust(TEXT.replace(" 100-", " 100-200"))
    assert trust.key_for(200) == NEW.key
    with pytest.raises(EvidenceError):
        trust.key_for(201)

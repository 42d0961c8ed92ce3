"""C2SP tlog-policy files and quorums."""

from __future__ import annotations

import pytest

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import WITNESS_KEY, parse_note
from lockgate.audit.evidence.policy import parse_policy
from tests.unit.audit.evidence.keys import LOG, W1, W2, W3, NoteSigner, note

X = [NoteSigner(f"x{number}", WITNESS_KEY) for number in (1, 2, 3)]
Y = [NoteSigner(f"y{number}", WITNESS_KEY) for number in (1, 2, 3)]
# The shape of the specification's own example.
EXAMPLE = "".join([
    f"  # two organisations\nlog {LOG.vkey} https://log.test/\n\n",
    *(f"witness\tX{number}   {key.vkey} \n" for number, key in enumerate(X, 1)),
    "group X-witnesses 2 X1 X2 X3\n",
    *(f"witness Y{number} {key.vkey} https://y{number}.test/w\n" for number, key in enumerate(Y, 1)),
    "group Y-witnesses any Y1 Y2 Y3\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
])


@pytest.mark.parametrize(("cosigners", "is_quorum"), [
    ("", False), ("X1", False), ("X1 X2", False), ("X1 Y1", False), ("Y1 Y2 Y3", False), ("X1 X2 X3", False),
    ("X1 X2 Y3", True), ("X1 X3 Y1 Y2", True), ("X1 X2 X3 Y1 Y2 Y3", True), ("X-witnesses Y-witnesses", False),
    ("X1 X2 stranger", False),
])
def test_groups_of_groups_are_counted(cosigners: str, is_quorum: bool) -> None:
    """Two of three here and one of three there; a name that is not a witness's counts for nothing."""
    assert parse_policy(EXAMPLE).is_quorum(set(cosigners.split())) is is_quorum


def test_a_quorum_is_of_verified_cosignatures_by_known_witnesses() -> None:
    """Whoever is unknown or did not sign this makes the note unacceptable; too few are untrusted."""
    policy = parse_policy(f"witness a {W1.vkey}\nwitness b {W2.vkey}\ngroup g all a b\nquorum g\n")
    assert policy.require_quorum(parse_note(note(W2, W1))) == [("b", 1_700_000_000), ("a", 1_700_000_000)]
    with pytest.raises(EvidenceError, match="not the quorum") as caught:
        policy.require_quorum(parse_note(note(W1)))
    assert caught.value.verdict == "untrusted"
    with pytest.raises(EvidenceError, match="nobody here knows"):
        policy.require_quorum(parse_note(note(W1, W2, W3)))
    other = note(W2, text="log.test/one\n43\n" + note().split("\n")[2] + "\n").split("\n")[-2]
    with pytest.raises(EvidenceError, match="not by the witness"):
        policy.require_quorum(parse_note(f"{note(W1)}{other}\n"))


def test_a_quorum_of_none_asks_for_nothing_but_refuses_strangers() -> None:
    """Without witnesses any note has the quorum, unless it carries lines that nobody can judge."""
    policy = parse_policy("quorum none\n")
    assert policy.require_quorum(parse_note(note())) == []
    with pytest.raises(EvidenceError):
        policy.require_quorum(parse_note(note(W1)))


@pytest.mark.parametrize(("text", "reason"), [
    ("", "no quorum"), ("quorum none", "newline"), ("quorum none\r\n", "control"), ("quorum none\n\0", "newline"),
    ("quorum none\nquorum none\n", "exactly one"), ("quorum a\n", "not defined before"), ("witnesses\n", "unknown word"),
    (f"quorum a\nwitness a {W1.vkey}\n", "not defined before"), (f"witness a {W1.vkey}\nquorum a b\n", "exactly one"),
    (f"witness none {W1.vkey}\nquorum none\n", "taken"), (f"witness a {W1.vkey}\nwitness a {W2.vkey}\n", "taken"),
    (f"witness a {W1.vkey}\nwitness b {W1.vkey}\n", "listed twice"), (f"log {LOG.vkey}\nlog {LOG.vkey}\n", "twice"),
    (f"witness a {LOG.vkey}\n", "type 4"), (f"log {W1.vkey}\n", "type 1"), ("log\n", "a log line"),
    (f"witness a {W1.vkey} ftp://x\n", "URL"), (f"witness a {W1.vkey} https://x y\n", "witness line"),
    (f"witness a {W1.vkey}\ngroup g 2 a\n", "threshold"), (f"witness a {W1.vkey}\ngroup g 0 a\n", "threshold"),
    (f"witness a {W1.vkey}\ngroup g 01 a\n", "threshold"), (f"witness a {W1.vkey}\ngroup g any a a\n", "already"),
    (f"witness a {W1.vkey}\ngroup g any a\ngroup h any a\n", "already"), ("group g any\n", "group line"),
    (f"witness a {W1.vkey}\ngroup g any none\n", "not defined"), ("group g any g\n", "not defined"),
    ("#" * 70_000 + "\n", "65536"),
    ("".join(f"witness w{n} {NoteSigner(f'w{n}', WITNESS_KEY).vkey}\n" for n in range(65)), "more than 64"),
])
def test_a_policy_that_contradicts_itself_is_refused(text: str, reason: str) -> None:
    """Whatever is missing, repeated, undefined, of the wrong type or without bounds stops the reading."""
    with pytest.raises(EvidenceError, match=reason) as caught:
        parse_policy(text)
    assert (caught.value.check, caught.value.verdict) == ("policy", "untrusted")


def test_a_log_is_not_its_own_witness() -> None:
    """One key may not be a log's and a witness's: its cosignature would say nothing."""
    shared = LOG.key._replace(name="w", kind=WITNESS_KEY).vkey
    with pytest.raises(EvidenceError, match="listed twice"):
        parse_policy(f"log {LOG.vkey}\nwitness w {shared}\nquorum w\n")

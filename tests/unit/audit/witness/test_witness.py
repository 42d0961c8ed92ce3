"""The status matrix of C2SP tlog-witness, replayed against our witness; and what its memory promises."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lockgate.audit.evidence.notes import parse_note, parse_signature, verify_cosignature
from lockgate.audit.witness.exchange import SIZE_TYPE, Answer, encode_submission
from lockgate.audit.witness.memory import Memory
from lockgate.audit.witness.witness import Witness
from lockgate.errors import AuditError
from tests.unit.audit.evidence.keys import LOG, W1, NoteSigner, body
from tests.unit.audit.signing.trees import growth, tree

NOW = 1_700_000_123.9
STRANGER, OTHER = NoteSigner("log.test/stranger"), NoteSigner("log.test/two")


def note(size: int, seed: str = "", *signers: NoteSigner, origin: str = "log.test/one") -> str:
    return signed(body(size, tree(size, seed).root, origin), *signers or (LOG,))


def signed(text: str, *signers: NoteSigner) -> str:
    return f"{text}\n{''.join(signer.line(text) for signer in signers)}"


def ask(old: int, size: int, seed: str = "", proof: list[bytes] | None = None, *signers: NoteSigner) -> bytes:
    return encode_submission(old, growth(old, size, seed) if proof is None else proof, note(size, seed, *signers))


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "witness.db")


@pytest.fixture
def witness(memory: Memory) -> Witness:
    """A witness that knows two logs, and has seen 7 entries of the first one."""
    made = Witness("witness.test/own", Ed25519PrivateKey.generate(), [LOG.key, OTHER.key], memory, lambda: NOW)
    assert made.add_checkpoint(ask(0, 7)).status == 200
    return made


GOOD = ask(7, 9)
# What is sent while the witness is at size 7; the status that the specification demands; the 409's size.
MATRIX = {
    "growth": (GOOD, 200, None),
    "the same tree again": (ask(7, 7), 200, None),
    "a log seen for the first time": (encode_submission(0, [], note(5, "", OTHER, origin="log.test/two")), 200, None),
    "further signatures by unknown keys": (ask(7, 9, "", None, LOG, STRANGER, W1), 200, None),
    "unknown origin": (encode_submission(0, [], note(5, "", STRANGER, origin="log.test/stranger")), 404, None),
    "no signature by the log's key": (ask(7, 9, "", None, STRANGER), 403, None),
    "another log's key": (ask(7, 9, "", None, OTHER), 403, None),
    "the log's name with another key": (encode_submission(7, growth(7, 9), note(9).replace(note(9)[-20:-9], "A" * 11)), 403, None),
    "old size above the checkpoint's": (encode_submission(9, [], note(7)), 400, None),
    "old size unknown to the client": (ask(0, 9), 409, 7),
    "old size of an earlier checkpoint": (ask(5, 9), 409, 7),
    "old size beyond what was seen": (ask(8, 9), 409, 7),
    "roll-back": (ask(3, 5), 409, 7),
    "roll-back from nothing": (ask(0, 5), 409, 7),
    "fork at the same size": (ask(7, 7, "x"), 409, 7),
    "fork that grew": (ask(7, 9, "x"), 422, None),
    "fork with the proof of the honest log": (ask(7, 9, "x", growth(7, 9)), 422, None),
    "no proof": (ask(7, 9, "", []), 422, None),
    "a proof from elsewhere": (ask(7, 9, "", growth(5, 9)), 422, None),
    "a proof with a hash too many": (ask(7, 9, "", [*growth(7, 9), bytes(32)]), 422, None),
    "a proof where there is nothing to prove": (ask(7, 7, "", [bytes(32)]), 422, None),
    "a proof from nothing": (encode_submission(0, [bytes(32)], note(5, "", OTHER, origin="log.test/two")), 422, None),
    "a tree without entries and with a root": (
        encode_submission(0, [], signed(body(0, bytes(32), "log.test/two"), OTHER)), 422, None),
    "nothing": (b"", 400, None),
    "no old size": (GOOD.partition(b"\n")[2], 400, None),
    "a padded size": (GOOD.replace(b"old 7", b"old 07"), 400, None),
    "a negative size": (GOOD.replace(b"old 7", b"old -7"), 400, None),
    "two spaces": (GOOD.replace(b"old 7", b"old  7"), 400, None),
    "other line ends": (GOOD.replace(b"\n", b"\r\n"), 400, None),
    "a hash that is not base64": (GOOD.replace(b"\n", b"\n*", 1), 400, None),
    "a short hash": (ask(7, 9, "", [bytes(31)]), 400, None),
    "64 hashes": (ask(7, 9, "", [bytes(32)] * 64), 400, None),
    "no checkpoint": (GOOD.partition(b"\n\n")[0] + b"\n\n", 400, None),
    "no signature": (GOOD.rpartition("— ".encode())[0], 400, None),
    "not UTF-8": (GOOD + b"\xff", 400, None),
    "too long": (GOOD + b"x" * 80_000, 400, None),
}


@pytest.mark.parametrize("case", MATRIX)
def test_the_published_status_matrix(witness: Witness, memory: Memory, case: str) -> None:
    """Each request gets its status; only a 200 moves what was seen, or carries a cosignature."""
    sent, status, size = MATRIX[case]
    answer = witness.add_checkpoint(sent)
    assert answer.status == status, answer
    if size is not None:
        assert answer == Answer(409, SIZE_TYPE, f"{size}\n".encode())
    if status == 200:
        signed = parse_note(sent.decode().partition("\n\n")[2])
        line = parse_signature(answer.body.decode().rstrip("\n"))
        assert verify_cosignature(signed.text, line, witness.key) == int(NOW)
    else:
        assert "—".encode() not in answer.body
        with memory.turn("log.test/one") as seen:
            assert (seen.size, seen.root) == (7, tree(7).root)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """What was seen is in the file before the cosignature is out."""
    private = Ed25519PrivateKey.generate()
    for old, size in ((0, 3), (3, 8)):
        memory = Memory(tmp_path / "witness.db")
        assert Witness("w", private, [LOG.key], memory, lambda: NOW).add_checkpoint(ask(old, size)).status == 200
        memory.close()
    memory = Memory(tmp_path / "witness.db")
    witness = Witness("w", private, [LOG.key], memory, lambda: NOW)
    assert witness.add_checkpoint(ask(3, 9)) == Answer(409, SIZE_TYPE, b"8\n")
    memory.close()
    (tmp_path / "witness.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(AuditError):
        Memory(tmp_path / "witness.db")


def test_of_two_forks_at_once_one_is_cosigned(tmp_path: Path) -> None:
    """Two processes, one file: looking, checking and moving are one step, whoever comes first."""
    private = Ed25519PrivateKey.generate()
    memories = [Memory(tmp_path / "witness.db") for _ in range(2)]
    statuses: list[int] = []
    start = threading.Barrier(8)

    def run(number: int) -> None:
        witness = Witness("w", private, [LOG.key], memories[number % 2], lambda: NOW)
        start.wait()
        statuses.append(witness.add_checkpoint(ask(0, 5, f"fork {number}")).status)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7
    for memory in memories:
        memory.close()


def test_a_key_that_was_changed_is_one_of_two(memory: Memory) -> None:
    """After a change of keys the log is known by both of its keys, under the one name."""
    new = NoteSigner("log.test/new")
    new.key = new.key._replace(name="log.test/one")
    witness = Witness("w", Ed25519PrivateKey.generate(), [LOG.key, new.key], memory, lambda: NOW)
    assert witness.add_checkpoint(ask(0, 3)).status == 200
    assert witness.add_checkpoint(ask(3, 5, "", None, new)).status == 200


def test_the_example_of_the_specification_is_read(witness: Witness) -> None:
    """Its request is well-formed: the log is merely unknown here."""
    hashes = "".join(f"{base64.b64encode(bytes([n]) * 32).decode()}\n" for n in range(4))
    sent = f"old 20852014\n{hashes}\n{note(20, '', STRANGER, origin='log.test/stranger')}"
    assert witness.add_checkpoint(sent.replace("\n20\n", "\n20852163\n").encode()).status == 404

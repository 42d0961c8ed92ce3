"""C2SP tlog-policy: which logs and witnesses are known, and which witnesses together are a quorum.

Used by the gateway (its policy file) and, inside a trust note, by verifiers. Stricter than the
specification: the file is UTF-8, URLs are printable, and no key is a log's and a witness's at once,
because a log that cosigns itself is nobody's witness.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lockgate.audit.evidence.failures import EvidenceError
from lockgate.audit.evidence.notes import (
    LOG_KEY,
    WITNESS_KEY,
    NoteKey,
    SignedNote,
    parse_vkey,
    verify_cosignature,
)

POLICY_LIMIT = 65_536
_DEFINITIONS = 64           # logs, witnesses and groups, each; the specification asks for at least 32
_NONE = "none"
_POLICY_CHARACTERS = re.compile(r"[\t\n\x20-\x7e\u0080-\U0010ffff]*")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,3}", re.ASCII)
_URL = re.compile(r"https?://[\x21-\x7e]{1,2000}", re.ASCII)


class KnownLog(NamedTuple):
    """A log that a policy accepts."""

    key: NoteKey
    url: str | None


class KnownWitness(NamedTuple):
    """A witness by the name that the policy gives it. `url` is its submission prefix."""

    name: str
    key: NoteKey
    url: str | None


class WitnessGroup(NamedTuple):
    """At least `threshold` of `members` (witnesses or groups defined before) must have cosigned."""

    name: str
    threshold: int
    members: tuple[str, ...]


class Policy(NamedTuple):
    """What a checkpoint needs. `quorum` names a witness or a group, or is ``none``."""

    logs: tuple[KnownLog, ...]
    witnesses: tuple[KnownWitness, ...]
    groups: tuple[WitnessGroup, ...]
    quorum: str

    def is_quorum(self, names: set[str]) -> bool:
        """Whether these witnesses together satisfy the quorum."""
        if self.quorum == _NONE:
            return True
        reached = {witness.name for witness in self.witnesses if witness.name in names}
        for group in self.groups:       # members are defined before the group
            if sum(member in reached for member in group.members) >= group.threshold:
                reached.add(group.name)
        return self.quorum in reached

    def vouched_at(self, cosigners: list[tuple[str, int]]) -> int | None:
        """When enough of these had cosigned (Unix seconds): the clock of one that is not needed does not count. None
        where they are not enough; nobody is not, even where nobody is asked for.
        """
        for when in sorted(when for _, when in cosigners):
            if self.is_quorum({name for name, at in cosigners if at <= when}):
                return when
        return None

    def cosignatures(self, note: SignedNote) -> list[tuple[str, int]]:
        """Who cosigned and when (Unix seconds). The first signature is the log's and is not looked at.

        Raises where a line is by nobody that the policy knows, or does not verify.
        """
        found = []
        for line in note.signatures[1:]:
            for witness in self.witnesses:
                if line.is_by(witness.key):
                    found.append((witness.name, verify_cosignature(note.text, line, witness.key)))
                    break
            else:
                raise EvidenceError("quorum", f"a signature line by {line.name} ({line.key_id.hex()}), whom nobody "
                                    "here knows")
        return found

    def require_quorum(self, note: SignedNote) -> list[tuple[str, int]]:
        """As `cosignatures`; raises (untrusted) where they are no quorum."""
        found = self.cosignatures(note)
        if not self.is_quorum({name for name, _ in found}):
            raise EvidenceError("quorum", f"cosigned by {', '.join(name for name, _ in found) or 'nobody'}, which is not "
                                f"the quorum {self.quorum}", verdict="untrusted")
        return found


class PolicyBuilder:
    """Collects the lines of a policy in order and refuses what contradicts the ones before."""

    def __init__(self, check: str = "policy") -> None:
        self.check = check
        self.logs: list[KnownLog] = []
        self.witnesses: dict[str, KnownWitness] = {}
        self.groups: dict[str, WitnessGroup] = {}
        self.members: set[str] = set()
        self.public: set[bytes] = set()
        self.quorum: str | None = None

    def fail(self, message: str) -> EvidenceError:
        return EvidenceError(self.check, message, verdict="untrusted")

    def take_log(self, words: list[str]) -> None:
        """``<vkey> [<url>]``."""
        if len(words) not in (1, 2):
            raise self.fail("a log line is: log <vkey> [<url>]")
        key = self._key(words[0], LOG_KEY)
        self.logs.append(KnownLog(key, self._url(words[1:])))
        self._bound(len(self.logs))

    def take_witness(self, words: list[str]) -> None:
        """``<name> <vkey> [<url>]``."""
        if len(words) not in (2, 3):
            raise self.fail("a witness line is: witness <name> <vkey> [<url>]")
        self._new_name(words[0])
        self.witnesses[words[0]] = KnownWitness(words[0], self._key(words[1], WITNESS_KEY), self._url(words[2:]))
        self._bound(len(self.witnesses))

    def take_group(self, words: list[str]) -> None:
        """``<name> all|any|<k> <member>…``."""
        if len(words) < 3:
            raise self.fail("a group line is: group <name> all|any|<k> <member>…")
        name, rule, members = words[0], words[1], words[2:]
        self._new_name(name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise self.fail(f"group {name}: {member} is not defined before")
            if member in self.members:
                raise self.fail(f"group {name}: {member} is a member already")
            self.members.add(member)
        if rule in ("all", "any"):
            threshold = len(members) if rule == "all" else 1
        elif _THRESHOLD.fullmatch(rule) and int(rule) <= len(members):
            threshold = int(rule)
        else:
            raise self.fail(f"group {name}: the threshold is all, any or a number from 1 to the members' count")
        self.groups[name] = WitnessGroup(name, threshold, tuple(members))
        self._bound(len(self.groups))

    def take_quorum(self, words: list[str]) -> None:
        """``<name>`` or ``none``, once."""
        if len(words) != 1 or self.quorum is not None:
            raise self.fail("there is exactly one line: quorum <name>")
        (name,) = words
        if name != _NONE and name not in self.witnesses and name not in self.groups:
            raise self.fail(f"quorum: {name} is not defined before")
        self.quorum = name

    def build(self) -> Policy:
        """The policy of all lines."""
        if self.quorum is None:
            raise self.fail("there is no quorum line")
        return Policy(tuple(self.logs), tuple(self.witnesses.values()), tuple(self.groups.values()), self.quorum)

    def _new_name(self, name: str) -> None:
        if name == _NONE or name in self.witnesses or name in self.groups:
            raise self.fail(f"the name {name} is taken")

    def _key(self, text: str, kind: int) -> NoteKey:
        key = parse_vkey(text, kind, self.check)
        if key.public in self.public:
            raise self.fail(f"the key of {key.name} is listed twice")
        self.public.add(key.public)
        return key

    def _url(self, words: list[str]) -> str | None:
        if not words:
            return None
        if not _URL.fullmatch(words[0]):
            raise self.fail("a URL begins with http:// or https:// and is printable ASCII")
        return words[0]

    def _bound(self, count: int) -> None:
        if count > _DEFINITIONS:
            raise self.fail(f"more than {_DEFINITIONS} logs, witnesses or groups")


def parse_policy(text: str) -> Policy:
    """Read a policy file. Raises `EvidenceError` (check ``policy``, untrusted) for anything else."""
    builder = PolicyBuilder()
    if len(text) > POLICY_LIMIT or not _POLICY_CHARACTERS.fullmatch(text) or (text and not text.endswith("\n")):
        raise builder.fail(f"a policy is at most {POLICY_LIMIT} characters in lines that each end in a newline, "
                           "without control characters")
    takers = {"log": builder.take_log, "witness": builder.take_witness, "group": builder.take_group,
              "quorum": builder.take_quorum}
    for number, line in enumerate(text.split("\n")):
        words = [word for word in re.split("[ \t]+", line) if word]
        if not words or words[0].startswith("#"):
            continue
        if words[0] not in takers:
            raise builder.fail(f"line {number + 1}: unknown word {words[0]!r}")
        try:
            takers[words[0]](words[1:])
        except EvidenceError as error:
            raise builder.fail(f"line {number + 1}: {error.message}") from None
    return builder.build()

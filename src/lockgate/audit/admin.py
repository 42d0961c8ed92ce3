"""How a command on this machine puts a record on the log: through the running gateway, or by itself.

A running gateway serves ``admin.sock`` in the log's folder: JSON lines, one question and one answer for each
connection, from the gateway's own user or root (`SO_PEERCRED`, unix(7)). Where no gateway runs, the command
opens the log as a gateway would, with recovery and the facts of the last start, and closes it.
Without the record there is no view, no export and no verdict: whatever goes wrong raises `AuditError`.
"""

from __future__ import annotations

import os
import pwd
import socket
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from lockgate.audit.custody import Custody, Erased, Forget, Person, Scope, nowhere, submitting
from lockgate.audit.entry import MAX_INTEGER
from lockgate.audit.erasing import Wish
from lockgate.audit.log import AuditLog
from lockgate.audit.storage.database.place import fleet_folder, log_beside
from lockgate.audit.storage.sqlite import FILE, open_source
from lockgate.errors import AuditError
from lockgate.model import Event

SOCKET: Final = "admin.sock"
LINE: Final = 262_144       # bytes of one question or answer
LOCAL: Final = "local"
"""The issuer of people who are known by their account on this machine."""
_CONNECT: Final = 5.0       # seconds
_ANSWER: Final = 120.0      # seconds; an erasure walks through the log first


class AdminRefused(AuditError):
    """The gateway did not take an administrative act; its words say why."""

    code = "audit.admin"


class Recorded(Protocol):
    """What a command may do to a log. Each call returns when its record is durable, or raises `AuditError`."""

    def append(self, event: Event) -> int:
        """Put one record on the log (`custody.OFFERED`); its index. Who asked is added."""

    def erase(self, wish: Wish) -> Erased:
        """Destroy payloads and recordings, where one person may."""

    def hold(self, name: str, action: str, scope: Scope | None, reason: str) -> int:
        """Set or lift a legal hold; the record's index."""

    def rotate(self, reason: str) -> tuple[str, str]:
        """Give the log another key; both verifier keys, old and new."""


def account(uid: int) -> Person:
    """The person that an account of this machine stands for."""
    try:
        return LOCAL, pwd.getpwuid(uid).pw_name
    except KeyError:
        return LOCAL, f"uid {uid}"


@contextmanager
def recorded(folder: Path, forget: Forget = nowhere) -> Iterator[Recorded]:
    """The log in `folder` (``<state>/audit``), through the gateway that runs or directly; `forget` is then what
    `Custody` does with reviews whose payloads are erased.
    """
    if _answers(folder):
        yield _Remote(folder)
        return
    own = _own_shard(folder)
    if own is not None and _answers(own):
        yield _Elsewhere(own, folder)
        return
    with _opened(folder, forget) as custody:
        yield _Local(custody)


# ---------------------------------------------------------------- without a gateway


class _Local:
    """Acts on a log that this process has open."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody
        self._me = account(os.getuid())

    def append(self, event: Event) -> int:
        return self._custody.append(event, self._me)

    def erase(self, wish: Wish) -> Erased:
        return self._custody.erase(wish, self._me)

    def hold(self, name: str, action: str, scope: Scope | None, reason: str) -> int:
        return self._custody.hold(name, action, scope, reason, self._me)

    def rotate(self, reason: str) -> tuple[str, str]:
        return self._custody.rotate(reason, self._me)


@contextmanager
def _opened(folder: Path, forget: Forget) -> Iterator[Custody]:
    """The log, opened as a gateway opens it."""
    with open_source(folder) as source:
        if fleet_folder(folder) is None and not (folder / FILE).is_file():
            raise AdminRefused("this log is kept in a database, and no gateway that has it open answers here",
                               advice="run the command beside a running gateway")
        origin = source.origin
        facts = last_facts(leaf for _, _, leaf in source.leaves(containing=(b'"data":{',)))

    def at_once(call: Callable[[], None]) -> None:
        call()

    with ExitStack() as stack:
        own: dict[str, Any] = {}
        if fleet_folder(folder) is not None:
            from lockgate.audit.fleet.membership import rejoined  # brings a database driver with it

            member = stack.enter_context(rejoined(folder))
            own = {"place": member.place, "shard": member.lease.shard}
        log = stack.enter_context(closing(AuditLog.open(
            folder, origin=origin, dispatch=at_once, facts={**facts, "by": "command"}, **own)))
        yield Custody(folder, submitting(log, at_once), lambda: 2 if facts.get("approvals") == 2 else 1,
                      forget)


def last_facts(leaves: Iterator[bytes]) -> dict[str, Any]:
    """What the newest start, and changes of the configuration after it, say about what is in force."""
    facts: dict[str, Any] = {}
    for leaf in leaves:
        if b'"type":"node_start"' in leaf:
            facts = dict(orjson.loads(leaf).get("data", {}))
        elif b'"type":"config_change"' in leaf:
            said = orjson.loads(leaf).get("data", {})
            changed = {"config": said.get("after"), "policy": said.get("policy_after"),
                       "approvals": said.get("approvals"), "retention": said.get("retention")}
            facts |= {name: value for name, value in changed.items() if value is not None}
    return facts


# ---------------------------------------------------------------- through the gateway


class _Remote:
    """Acts that a running gateway carries out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, event: Event) -> int:
        return index_of(self._ask({"op": "append", **question(event)}))

    def erase(self, wish: Wish) -> Erased:
        answer = self._ask({"op": "erase", **asdict(wish)})
        try:
            return Erased(**{**answer, "leaves": tuple(answer["leaves"]), "unfinished": tuple(answer["unfinished"])})
        except (TypeError, KeyError):
            raise AdminRefused("the gateway's answer is not understood") from None

    def hold(self, name: str, action: str, scope: Scope | None, reason: str) -> int:
        return index_of(self._ask({"op": "hold", "name": name, "action": action, "scope": scope, "reason": reason}))

    def rotate(self, reason: str) -> tuple[str, str]:
        answer = self._ask({"op": "rotate", "reason": reason})
        return str(answer.get("old")), str(answer.get("new"))

    def _ask(self, words: Mapping[str, Any]) -> Mapping[str, Any]:
        connection = _connect(self._folder)
        if connection is None:
            raise AdminRefused("the gateway has just ended; nothing was recorded", advice="try again")
        with connection:
            try:
                connection.settimeout(_ANSWER)
                connection.sendall(orjson.dumps(words) + b"\n")
                answer = _line(connection)
            except OSError as error:
                raise AdminRefused(f"the gateway did not answer: {error.strerror or type(error).__name__}",
                                   advice="it may have recorded the act nevertheless: look at the log") from None
        if "error" in answer:
            raise AdminRefused(str(answer["error"]), advice=str(answer.get("advice", "")))
        return answer


def _connect(folder: Path) -> socket.socket | None:
    """A connection to the gateway that has this log open, or None where none listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.settimeout(_CONNECT)
    try:
        with at_folder(folder) as place:
            connection.connect(f"{place}/{SOCKET}")
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError as error:
        connection.close()
        raise AdminRefused(f"{folder / SOCKET}: {error.strerror or 'no answer'}",
                           advice="run this as the gateway's user, on the gateway's machine") from None
    return connection


@contextmanager
def at_folder(folder: Path) -> Iterator[str]:
    """A short path to the folder: an address of a Unix socket has 108 bytes (unix(7))."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _line(connection: socket.socket) -> Mapping[str, Any]:
    found = bytearray()
    while not found.endswith(b"\n"):
        more = connection.recv(65_536)
        if not more or len(found) > LINE:
            raise OSError("the answer is cut off")
        found += more
    answer = orjson.loads(found)
    if not isinstance(answer, dict):
        raise AdminRefused("the gateway's answer is not understood")
    return answer


class _Elsewhere:
    """Acts on a shard that another gateway writes, from beside this one: they are recorded on this one's log, and name
    that one. What changes a log is for the gateway that writes it.
    """

    def __init__(self, own: Path, folder: Path) -> None:
        self._own = _Remote(own)
        with open_source(folder) as source:
            self._origin = source.origin

    def append(self, event: Event) -> int:
        return self._own.append(replace(event, fields={**event.fields, "log": self._origin}))

    def erase(self, wish: Wish) -> Erased:
        raise self._refused()

    def hold(self, name: str, action: str, scope: Scope | None, reason: str) -> int:
        raise self._refused()

    def rotate(self, reason: str) -> tuple[str, str]:
        raise self._refused()

    def _refused(self) -> AdminRefused:
        return AdminRefused(f"{self._origin} is not the log of the gateway that runs here",
                            advice="run the command beside the gateway that writes it")


def _own_shard(folder: Path) -> Path | None:
    """The folder of the shard that this machine's gateway has, where `folder` is another one's."""
    found = fleet_folder(folder)
    if found is None or found[1] is None:
        return None
    own = log_beside(found[0])
    return None if own == folder else own


def _answers(folder: Path) -> bool:
    """Whether a gateway has this log open."""
    connected = _connect(folder)
    if connected is not None:
        connected.close()
    return connected is not None


# ---------------------------------------------------------------- the words of the socket


def question(event: Event) -> dict[str, Any]:
    """An event as JSON."""
    words = asdict(event)
    words["payload"] = b64encode(event.payload).decode()
    return words


def event_of(words: Mapping[str, Any]) -> Event:
    """The reverse of `question`. Raises `AdminRefused` for anything else."""
    kind, fields, payload = words.get("type"), words.get("fields"), words.get("payload")
    if not isinstance(kind, str) or not isinstance(fields, dict) or not isinstance(payload, str):
        raise AdminRefused("the question is not understood")
    try:
        return Event(kind, fields, None, b64decode(payload, validate=True))
    except ValueError:
        raise AdminRefused("the question is not understood") from None


def index_of(answer: Mapping[str, Any]) -> int:
    """The index in an answer."""
    index = answer.get("index")
    if type(index) is not int or not 0 <= index <= MAX_INTEGER:
        raise AdminRefused("the gateway's answer is not understood")
    return index


def wish_of(words: Mapping[str, Any]) -> Wish:
    """What is asked to be erased, in JSON. Raises `AdminRefused` for anything else."""
    subject, issuer, records = words.get("subject"), words.get("issuer"), words.get("records", [])
    reason = words.get("reason")
    named = all(value is None or (isinstance(value, str) and 0 < len(value) <= 1_000) for value in (subject, issuer))
    if not named or not isinstance(reason, str) or not isinstance(records, list) or (subject is None) == (not records):
        raise AdminRefused("an erasure names a subject or records, and a reason")
    pairs = []
    for pair in records:
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(end) is int for end in pair):
            raise AdminRefused("records are pairs of first and last index")
        if not 0 <= pair[0] <= pair[1] <= MAX_INTEGER:
            raise AdminRefused("records are pairs of first and last index")
        pairs.append((pair[0], pair[1]))
    return Wish(reason, subject, issuer, tuple(pairs))


def scope_of(words: Any) -> Scope | None:
    """A hold's scope in JSON. Raises `AdminRefused` for anything else."""
    if words is None:
        return None
    if not isinstance(words, dict) or set(words) not in (
        {"all"}, {"session"}, {"subject"}, {"subject", "issuer"}, {"first", "last"},
    ):
        raise AdminRefused("a hold is on everything, a session, a subject or a range of records")
    return words

"""Where a credential could turn up, and looking for it there in every form that it may have.

Each place is a name and bytes. What is sealed is opened first, so that nothing hides behind a key that is
in the same folder.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import urllib.parse
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pyrage

from lockgate.audit.reader import Reader
from lockgate.audit.recording.coverage import chunks_of
from lockgate.audit.recording.sealing import Opener
from testbed.gateway import Gateway

Place = tuple[str, bytes]


def forms(secret: bytes) -> set[bytes]:
    """A secret as it is, quoted for SQL, JSON and URLs, in hex, in UTF-16, and in base64 at each of the three offsets."""
    text = secret.decode("utf-8", "replace")
    found = {secret, secret.hex().encode(), secret.hex().upper().encode(), text.encode("utf-16-le"),
             text.replace("'", "''").encode(), json.dumps(text)[1:-1].encode(), urllib.parse.quote(text, safe="").encode(),
             repr(secret)[2:-1].encode()}
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(bytes(offset) + secret)
            found.add(whole[4 if offset else 0 : len(whole) // 4 * 4 - 4])      # what does not depend on its neighbours
    return {form for form in found if len(form) >= 6}


def hits(places: Iterable[Place], secrets: dict[str, bytes]) -> set[tuple[str, str]]:
    """(place, secret) wherever one of them turns up."""
    wanted = {name: forms(secret) for name, secret in secrets.items()}
    return {(place, name) for place, content in places
            for name, found in wanted.items() if any(form in content for form in found)}


def files(folder: Path, kind: str, but: frozenset[str] = frozenset()) -> Iterator[Place]:
    """Every file below a folder; `but` names files whose purpose is to hold a secret."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name not in but:
            yield f"{kind}:{path.name.split('.')[0] if path.name.startswith('core') else path.name}", path.read_bytes()


def payloads(folder: Path) -> Iterator[Place]:
    """What every entry of a log committed to, opened, also inside of the base64 of forwarded bytes."""
    with Reader(folder) as reader:
        for entry in reader._entries():
            content = reader.payload(entry).content
            yield "payload", json.dumps([entry.record, content], ensure_ascii=False).encode()
            if "forwarded" in content:
                yield "payload", base64.b64decode(content["forwarded"])


def recordings(folder: Path, identity: pyrage.x25519.Identity) -> Iterator[Place]:
    """What every stream of every session holds, opened as its auditor would."""
    opener = Opener([identity])
    for path in sorted((folder / "recordings").rglob("*.rec")):
        yield "recording", b"".join(opener.open(chunk, number) for number, chunk in enumerate(chunks_of(BytesIO(path.read_bytes()))))


def children(process: int) -> Iterator[Place]:
    """Environment and command line of everything that a process started, and its own command line."""
    yield "cmdline", Path(f"/proc/{process}/cmdline").read_bytes()
    for child in descendants(process):
        yield "environ of a child", Path(f"/proc/{child}/environ").read_bytes()
        yield "cmdline", Path(f"/proc/{child}/cmdline").read_bytes()


def descendants(process: int) -> list[int]:
    """Everything that a process started and that still runs, youngest first."""
    own = [int(child) for path in Path(f"/proc/{process}/task").glob("*/children") for child in path.read_text().split()]
    return [found for child in own for found in (*descendants(child), child)]


def answers(front: Gateway, bodies: Iterable[bytes]) -> Iterator[Place]:
    """What the control API said."""
    for body in bodies:
        yield "answer", body


def cores(front: Gateway) -> Iterator[Place]:
    """What SIGABRT leaves of a gateway and of the processes that it started, after somebody has lifted the limit on cores."""
    with suppress(PermissionError):
        for process in (front.process.pid, *descendants(front.process.pid)):
            resource.prlimit(process, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for process in descendants(front.process.pid):
        os.kill(process, signal.SIGABRT)
    front.process.send_signal(signal.SIGABRT)
    front.process.wait(30)
    yield from (("core", path.read_bytes()) for path in front.folder.glob("core*"))


def dumps(folder: Path, process: int) -> Iterator[Place]:
    """Core files, and whether the process could leave one at all: its limit, and its memory where it is dumpable."""
    for path in folder.glob("core*"):
        yield "core", path.read_bytes()
    limits = Path(f"/proc/{process}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    if core.split()[4:6] != ["0", "0"]:
        yield "core limit", core.encode()

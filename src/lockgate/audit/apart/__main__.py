"""The writer's process: ``python -m lockgate.audit.apart <descriptor>``, started by `link` only.

It ends when the gateway's end of the socket closes, whether the gateway closed it or was killed, and
not before: what reached it by then is committed first. Signals that are meant for the gateway
(a terminal's Ctrl-C and a supervisor's SIGTERM go to the whole group) are left to the gateway, which
drains and then closes the socket.
"""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import Any

from lockgate.audit.apart import frames
from lockgate.audit.apart.link import SETTLE
from lockgate.audit.apart.memory import forbid_dumps
from lockgate.audit.opening import open_store
from lockgate.audit.signing.notary import Tempo
from lockgate.audit.signing.opening import open_signer
from lockgate.audit.storage.database.place import Place
from lockgate.audit.storage.database.store import DatabaseStore
from lockgate.audit.storage.sqlite import SqliteStore
from lockgate.audit.writer import Writer
from lockgate.errors import AuditError


def serve(connection: socket.socket) -> int:
    """Take the log over, then commit batch by batch."""
    first = frames.receive(connection)
    if first is None:
        return 1
    terms = first.value
    store: SqliteStore | DatabaseStore | None = None
    writer: Writer | None = None
    try:
        folder = Path(terms["folder"])
        database = terms["database"]
        place = None if database is None else Place.from_terms(database["place"])
        store = open_store(folder, terms["origin"], b"", place, 0 if database is None else database["shard"])
        signer = open_signer(folder, terms["origin"], terms["signer"], may_create=False)
        writer = Writer(store, signer, terms["node"], terms["payload_limit"], Tempo(*terms["tempo"]))
        writer.take_over(terms)
        if isinstance(store, SqliteStore):
            store.checkpoint_apart()
        _answer(connection, {"size": writer.size, "note": writer.note})
        while (frame := frames.receive(connection)) is not None:
            if frame.value == SETTLE:
                writer.settle()
            else:
                writer.commit_rows(list(frames.rows(frame)))
            _answer(connection, {"size": writer.size, "note": writer.note})
    except AuditError as error:
        _answer(connection, {"error": str(error)})
        return 1
    else:
        store.finish()
        return 0
    finally:
        if writer is not None:
            writer.close()
        if store is not None:
            store.close()


def _answer(connection: socket.socket, answer: dict[str, Any]) -> None:
    try:
        frames.send(connection, answer)
    except OSError:
        pass    # the gateway was killed; what it sent before is still to be committed


def main() -> int:
    """Run until the gateway is gone."""
    forbid_dumps()      # keys of payloads pass through here
    sys.excepthook = lambda kind, _fault, _trace: sys.stderr.write(f"the audit writer failed: {kind.__name__}\n")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        return serve(connection)


if __name__ == "__main__":
    sys.exit(main())

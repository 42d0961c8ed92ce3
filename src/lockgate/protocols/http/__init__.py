"""HTTP/1.1 as a reverse proxy. See README.md for what is masked and what is refused."""

from __future__ import annotations

from lockgate.model import Activity, Exported
from lockgate.protocols.http.archives import har, json_lines
from lockgate.protocols.http.bundle import Http2Bundle
from lockgate.protocols.http.checks import attach, mismatches
from lockgate.protocols.http.credentials import secrets_of, spelled
from lockgate.protocols.http.enforcement import enforce
from lockgate.protocols.http.login import login
from lockgate.protocols.http.operations import FACTS, METHODS, SEND, TUNNEL
from lockgate.protocols.http.recorded import HttpDecoder
from lockgate.protocols.http.recording import HttpTap
from lockgate.protocols.http.settings import HttpSettings
from lockgate.wire.spec import ProtocolSpec, RecordingSpec

SPEC = ProtocolSpec(
    name="http",
    title="HTTP",
    default_port=443,
    settings=HttpSettings,
    login=login,
    probe=None,
    enforce=enforce,
    facts=FACTS,
    verbs=METHODS | {SEND, TUNNEL},
    recording=RecordingSpec(
        "exchanges", HttpDecoder, is_wire=False, tap=HttpTap, formats={"jsonl": json_lines, "har": har}, spelled=spelled,
        secrets=secrets_of),
    exported=Exported(Activity.WEB),
    proxies=True,
    needs_user=False,
    problems=mismatches,
    attach=attach,
    redials=True,
    bundles={"h2": lambda is_secure: Http2Bundle(is_secure=is_secure)},
    spare=lambda mediator: mediator.spare,
)

__all__ = ["SPEC"]

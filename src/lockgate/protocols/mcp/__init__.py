"""MCP over HTTP and standard streams. See README.md for what is judged, masked and refused."""

from __future__ import annotations

from functools import partial

from lockgate.model import Activity, Exported
from lockgate.protocols.http.archives import har, json_lines
from lockgate.protocols.http.bundle import Http2Bundle
from lockgate.protocols.http.credentials import spelled
from lockgate.protocols.http.login import login
from lockgate.protocols.http.recording import HttpTap
from lockgate.protocols.mcp.checks import mismatches
from lockgate.protocols.mcp.enforcement import enforce
from lockgate.protocols.mcp.mediator import McpMediator
from lockgate.protocols.mcp.methods import VERBS
from lockgate.protocols.mcp.operations import FACTS
from lockgate.protocols.mcp.piped_login import login as login_piped
from lockgate.protocols.mcp.recorded import McpDecoder
from lockgate.protocols.mcp.recording import LineTap
from lockgate.protocols.mcp.settings import McpSettings, secrets_given
from lockgate.wire.spec import ProtocolSpec, RecordingSpec

SPEC = ProtocolSpec(
    name="mcp",
    title="MCP",
    default_port=443,
    settings=McpSettings,
    login=partial(login, make=McpMediator),
    probe=None,
    enforce=enforce,
    facts=FACTS,
    verbs=VERBS,
    recording=RecordingSpec(
        "exchanges", McpDecoder, is_wire=False, tap=HttpTap, piped=LineTap, formats={"jsonl": json_lines, "har": har},
        spelled=spelled, secrets=secrets_given),
    exported=Exported(Activity.WEB),
    needs_user=False,
    redials=True,
    problems=mismatches,
    piped=login_piped,
    bundles={"h2": lambda is_secure: Http2Bundle(is_secure=is_secure)},
    spare=lambda mediator: mediator.spare,
)

__all__ = ["SPEC"]

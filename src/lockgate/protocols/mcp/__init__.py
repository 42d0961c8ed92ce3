"""MCP over HTTP. See README.md for what is judged, masked and refused."""

from __future__ import annotations

from functools import partial

from lockgate.model import Activity, Exported
from lockgate.protocols.http.bundle import Http2Bundle
from lockgate.protocols.http.login import login
from lockgate.protocols.mcp.enforcement import enforce
from lockgate.protocols.mcp.mediator import McpMediator
from lockgate.protocols.mcp.methods import VERBS
from lockgate.protocols.mcp.operations import FACTS
from lockgate.protocols.mcp.settings import McpSettings
from lockgate.wire.spec import ProtocolSpec

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
    exported=Exported(Activity.WEB),
    needs_user=False,
    redials=True,
    bundles={"h2": lambda is_secure: Http2Bundle(is_secure=is_secure)},
    spare=lambda mediator: mediator.spare,
)

__all__ = ["SPEC"]

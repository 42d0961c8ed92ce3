"""HTTP/1.1 as a reverse proxy. See README.md for what is masked and what is refused."""

from __future__ import annotations

from lockgate.model import Activity, Exported
from lockgate.protocols.http.bundle import Http2Bundle
from lockgate.protocols.http.checks import mismatches
from lockgate.protocols.http.enforcement import enforce
from lockgate.protocols.http.login import login
from lockgate.protocols.http.operations import FACTS, METHODS, TUNNEL
from lockgate.protocols.http.settings import HttpSettings
from lockgate.wire.spec import ProtocolSpec

SPEC = ProtocolSpec(
    name="http",
    title="HTTP",
    default_port=443,
    settings=HttpSettings,
    login=login,
    probe=None,
    enforce=enforce,
    facts=FACTS,
    verbs=METHODS | {TUNNEL},
    exported=Exported(Activity.WEB),
    proxies=True,
    needs_user=False,
    problems=mismatches,
    redials=True,
    bundles={"h2": lambda is_secure: Http2Bundle(is_secure=is_secure)},
    spare=lambda mediator: mediator.spare,
)

__all__ = ["SPEC"]

"""The gateway's file of every measurement: one listener, one issuer, connections to one PostgreSQL.

Apart from the scripts, which add what they measure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_HEAD: Final = """\
state: {folder}/state
listeners:
  - {{name: bench, protocol: postgres, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
control: {{address: "127.0.0.1:{control}"}}
"""
_IDENTITY: Final = """\
identity:
  providers:
    - {{name: bench, issuer: "{issuer}", audience: lockgate, algorithms: [ES256], unsafe_http: true}}
connections:
"""
_CONNECTION: Final = """\
    protocol: postgres
    address: 127.0.0.1:{backend}
    credential: {{user: postgres, password: {{env: CRM_PASSWORD}}}}
    tls: {{mode: disable}}
"""
_ALLOW: Final = "policies:\n  - {{name: connect, who: {{groups: [agents]}}, allow: connect}}\n"


def configuration(
    connections: Iterable[str], rules: str = "", *, audit: str = "async", database: str | None = None, recipient: str = "",
) -> str:
    """A template for `testbed.gateway.gateway`: connections by name, each to the database of its name or to `database`,
    and rules beside the one that lets agents in (braces doubled). `recipient` may play recordings."""
    options = "" if database is None else f"    options: {{{{database: {database}}}}}\n"
    made = "".join(f"  - name: {name}\n{_CONNECTION}{options}" for name in connections)
    recording = f", recording: {{{{recipients: [{recipient}]}}}}" if recipient else ""
    return f"{_HEAD}audit: {{{{mode: {audit}, origin: bench.lockgate.example/log{recording}}}}}\n{_IDENTITY}{made}{_ALLOW}{rules}"

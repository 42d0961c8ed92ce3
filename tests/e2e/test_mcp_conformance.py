"""MCP's own conformance suite: what holds of a server holds of it through the gateway, but for what is listed with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from testbed.conformance import conformance_server
from testbed.gateway import Issuer, gateway
from testbed.nginx import PROGRAM, bearers
from tests.conformance.suite import Outcome, conformance
from tests.e2e.conftest import TRUST

LISTS = Path(__file__).parent.parent / "data" / "mcp"
README = Path(__file__).parents[2] / "src" / "lockgate" / "protocols" / "mcp" / "README.md"
SCENARIOS, CHECKS = 32, 47
CONFIG = TRUST + """\
listeners:
  - {{name: tools, protocol: mcp, address: "127.0.0.1:{port}", plaintext_tokens: loopback}}
  - {{name: any-host, protocol: mcp, address: "127.0.0.1:{any_host}", connection: everything, plaintext_tokens: loopback}}
connections:
  - name: everything
    protocol: mcp
    address: 127.0.0.1:{server}
    server_names: [127.0.0.1]
    tls: {{mode: disable}}
    options: {{inject: none}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
  - name: hide
    who: {{groups: [outsiders]}}
    mask:
      - {{columns: ["*.ssn"], with: redact}}
      - {{detect: [credit_card], with: redact}}
"""


@dataclass(frozen=True)
class Ports:
    """Where the suite asks: the gateway, for an agent with masks, without a look at Host."""

    plain: int
    masked: int
    any_host: int


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The server's port."""
    with conformance_server(tmp_path_factory.mktemp("server")) as port:
        yield port


@pytest.fixture(scope="module")
def ports(server: int, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    """The gateway's. The suite sends no token, so nginx adds one on the way."""
    if PROGRAM is None:
        pytest.skip("nginx is not installed: run scripts/install-test-packages")
    folder = tmp_path_factory.mktemp("conformance")
    one, other = (tokens.token("suite", *groups, agent="suite") for groups in (("agents",), ("agents", "outsiders")))
    with gateway(folder / "gateway", CONFIG, more_ports=("any_host",), server=server, issuer=tokens.url) as front, bearers(
            folder / "nginx", (front.port, one), (front.port, other), (front.ports["any_host"], one)) as made:
        yield Ports(*made)


@pytest.fixture(scope="module")
def direct(server: int, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What the suite says of the server itself."""
    return conformance(server, tmp_path_factory.mktemp("direct"), LISTS / "known-failures.yml")


def test_the_server_conforms(direct: Outcome) -> None:
    """Asked directly, the server passes every check of every scenario: what fails behind the gateway is the gateway's."""
    assert len(direct.checks) == SCENARIOS
    assert sum(map(len, direct.checks.values())) == CHECKS
    assert direct.failed == set(), direct.text
    assert direct.exit == 0, direct.text


@pytest.mark.parametrize("way", ["plain", "masked", "any_host"])
def test_the_server_conforms_behind_the_gateway(direct: Outcome, ports: Ports, way: str, tmp_path: Path) -> None:
    """The same checks, with the same outcome, but for the scenarios on the published list, each of which does fail."""
    known = LISTS / {"plain": "known-failures.yml", "masked": "known-failures-masked.yml",
                     "any_host": "known-failures-any-host.yml"}[way]
    listed = set(yaml.safe_load(known.read_text())["server"])
    through = conformance(getattr(ports, way), tmp_path, known)
    assert through.exit == 0, through.text
    assert through.failed == listed, through.text
    assert {name: checks for name, checks in through.checks.items() if name not in listed} == {
        name: checks for name, checks in direct.checks.items() if name not in listed}


def test_known_failures_have_their_reason() -> None:
    """Every scenario on a list is in the table of the wire notes, and the table has no other."""
    table = README.read_text().partition("## Conformance\n")[2].partition("\n## ")[0]
    listed = {name for path in LISTS.glob("known-failures*.yml") for name in yaml.safe_load(path.read_text())["server"]}
    assert set(re.findall(r"^\| `([a-z0-9-]+)`", table, re.MULTILINE)) == listed

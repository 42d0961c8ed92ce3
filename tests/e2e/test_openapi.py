"""A FastAPI application behind the gateway, which knows its operations from the application's own OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from lockgate.app import load_configuration
from lockgate.errors import ConfigError
from testbed.gateway import Gateway, Issuer, gateway
from testbed.webapp import WebApp
from tests.e2e.test_custody import cli, records, until
from tests.e2e.test_http import HEAD, SECRET

CONFIG = HEAD.partition("connections:")[0] + """\
connections:
  - name: crm
    protocol: http
    address: 127.0.0.1:{backend}
    server_names: [crm.example]
    credential: {{password: {{env: API_TOKEN}}}}
    tls: {{mode: disable}}
    options: {{openapi: api.json}}
policies:
  - {{name: agents-connect, who: {{groups: [agents]}}, allow: connect}}
  - {{name: no-deletes, when: 'op.operation == "delete_customers__number__delete"', deny: nothing is deleted here}}
  - {{name: no-seconds, when: 'op.template == "/customers/{{number}}" && op.segments[1] == "2"', deny: not this one}}
"""


@pytest.fixture(scope="module")
def api(web: WebApp, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("described")
    (folder / "api.json").write_bytes(httpx.get(f"http://127.0.0.1:{web.port}/openapi.json").content)
    with gateway(folder, CONFIG, env={"API_TOKEN": SECRET}, backend=web.port, issuer=tokens.url) as running:
        yield running


@pytest.fixture
def client(api: Gateway, agent: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}",
                      headers={"authorization": f"Bearer {agent}", "host": "crm.example"}) as made:
        yield made


def test_operations_are_judged_by_their_id_and_others_do_not_reach_the_backend(client: httpx.Client, api: Gateway) -> None:
    """What the document lists is subject to policy; what it does not is refused with a code of its own, on record."""
    assert client.get("/customers/1").json()["name"] == "ann"
    assert client.get("/c%75stomers/1/").status_code in (200, 307)
    assert client.delete("/customers/1").json()["rule"] == "no-deletes"
    assert client.get("/customers/2").json()["rule"] == "no-seconds"
    before = len([one for one in records(api, "intent") if one.get("refusal") == "unlisted"])
    for method, path, said in (("GET", "/echo/anything", "this path"), ("GET", "/openapi.json", "this path"),
                               ("PATCH", "/customers/1", "DELETE, GET"), ("POST", "/echo/a", "this path"), ("HEAD", "/note", "")):
        refused = client.request(method, path, content=b"x" * 100_000 if method == "POST" else None)
        assert refused.status_code == 403, (method, path)
        if method != "HEAD":
            assert refused.json()["code"] == "unlisted"
            assert said in refused.text
    assert client.get("/note").status_code == 200, "the connection can be used on"
    until(lambda: len([one for one in records(api, "intent") if one.get("refusal") == "unlisted"]) == before + 5)


def is_refused(client: httpx.Client) -> bool:
    try:
        return client.get("/zipped").status_code == 403
    except httpx.RemoteProtocolError:       # the connection was ended with the old configuration, as any idle one may be
        return False


def test_another_document_is_another_configuration(client: httpx.Client, api: Gateway) -> None:
    """Taken over while the gateway runs, on record; one that cannot be used leaves the old one in force."""
    path, file = api.folder / "api.json", api.folder / "lockgate.yaml"
    whole = json.loads(path.read_text())
    assert client.get("/zipped").status_code == 200
    changes = len(records(api, "config_change"))
    path.write_text("{}")
    with pytest.raises(ConfigError, match="`openapi` at its top says neither"):
        load_configuration(file)
    assert client.get("/zipped").status_code == 200
    del whole["paths"]["/zipped"]
    path.write_text(json.dumps(whole))
    until(lambda: is_refused(client))
    assert len(records(api, "config_change")) == changes + 1
    assert "15 operations on 14 paths below / of api.json (OpenAPI 3.1.0, FastAPI)" in cli("check", "--offline", "--config", str(file))

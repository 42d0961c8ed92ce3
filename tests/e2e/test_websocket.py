"""Real WebSocket clients through the gateway to real servers: straight, by the gateway as their proxy, and until it ends."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from testbed.gateway import Gateway, Issuer, gateway, run
from testbed.postgres import free_port
from testbed.webapp import WebApp, webapp
from tests.e2e.test_custody import payloads, records, until
from tests.e2e.test_http import HEAD, SECRET

POLICIES = """\
  - name: nothing-is-erased
    connections: [crm]
    when: op.verb == "send" && op.message.contains("erase")
    deny: nothing is erased over this socket
  - name: payments-need-a-person
    connections: [crm]
    when: op.verb == "send" && op.content_type == "application/json" && has(op.json.pay) && op.json.pay > 100
    review: {{by: [dba], expires: 5m}}
  - name: good-origins
    when: op.websocket && op.verb == "get" && has(op.headers.origin) && op.headers.origin.exists(o, o != "https://app.example")
    deny: this origin opens no sockets
"""
RAW = """\
  - name: raw
    protocol: http
    address: 127.0.0.1:{raw}
    server_names: [raw.example]
    tls: {{mode: disable}}
    options: {{inject: none}}
policies:
"""
CONFIG = HEAD.replace("policies:\n", RAW).replace("connections: [crm]\n    mask", "connections: [crm, raw]\n    mask") + POLICIES
CARD = "4111111111111111"


def spoken(socket: ServerConnection) -> None:
    """A server that sends what no framework would: messages in fragments, pings with payloads, ends without a word."""
    for text in socket:
        if text == "torn":
            socket.send(["4111 1111", " 1111 ", "1111"])
            socket.ping(CARD.encode(), ack_on_close=True)
            socket.send(iter([b'{"ss', b'n":"219-09-', b'9999"}']))
        elif text == "drop":
            socket.socket.close()
            return
        else:
            socket.send(text)


@pytest.fixture(scope="module")
def raw() -> Iterator[int]:
    """The port of a server of the package `websockets`."""
    with serve(spoken, "127.0.0.1", free_port()) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application, on another library than the server of `raw`."""
    with webapp(tmp_path_factory.mktemp("web"), "wsproto") as running:
        yield running


@pytest.fixture(scope="module")
def api(web: WebApp, raw: int, tokens: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The gateway in front of both."""
    with gateway(tmp_path_factory.mktemp("ws"), CONFIG, env={"API_TOKEN": SECRET}, backend=web.port, raw=raw,
                 issuer=tokens.url) as running:
        yield running


@contextmanager
def socket_to(api: Gateway, token: str, path: str = "/live", host: str = "crm.example", **more: Any) -> Iterator[ClientConnection]:
    """An open socket of a client that knows nothing of the gateway but its address."""
    headers = {"Authorization": f"Bearer {token}", **more.pop("headers", {})}
    reached = socket.create_connection(("127.0.0.1", api.port), 10)
    with connect(f"ws://{host}{path}", sock=reached, proxy=None, additional_headers=headers, **more) as made:
        yield made


def asked(line: ClientConnection, text: str) -> str:
    line.send(text)
    answer = line.recv(timeout=20)
    return answer if isinstance(answer, str) else answer.decode()


def closed(line: ClientConnection) -> tuple[int, str]:
    """How the gateway ends it."""
    with pytest.raises(ConnectionClosed) as found:
        line.recv(timeout=20)
    assert found.value.rcvd is not None
    return found.value.rcvd.code, found.value.rcvd.reason


def test_messages_are_masked_and_the_backend_sees_its_credential(api: Gateway, agent: str) -> None:
    """By the labels that hide them in answers of HTTP, in text and binary frames, whatever their size."""
    with socket_to(api, agent, max_size=None) as line:
        assert [one["ssn"] for one in json.loads(asked(line, "people"))] == ["xxxx", "xxxx"]
        headers = dict(json.loads(asked(line, "headers")))
        assert headers["authorization"] == f"Bearer {SECRET}"
        assert "sec-websocket-extensions" not in headers
        assert agent not in json.dumps(headers)
        assert "4111 1111" not in asked(line, "note")
        assert len(asked(line, "large 3000000")) == 3_000_000
        assert asked(line, "y" * 900_000) == "y" * 900_000
        assert line.ping("me").wait(20)
    until(lambda: any(record["verbs"] == ["send"] for record in records(api, "intent")))


def test_a_refused_message_is_explained_and_ends_the_socket(api: Gateway, agent: str) -> None:
    """A model reads the problem, or the reason of the close; what was refused is on record and nowhere else."""
    with socket_to(api, agent) as line:
        problem = json.loads(asked(line, "please erase it"))
        assert (problem["code"], problem["rule"]) == ("denied", "nothing-is-erased")
        assert closed(line) == (1008, "denied by nothing-is-erased: nothing is erased over this socket")
    with socket_to(api, agent, subprotocols=["chat"]) as line:
        assert line.subprotocol == "chat"
        line.send("erase")
        assert closed(line)[0] == 1008
    until(lambda: any(record.get("refusal") == "denied" and record["kind"] == "message" for record in records(api, "intent")))
    assert payloads(api, b"please erase it")


def test_a_message_waits_for_a_person_and_goes_through_on_another_socket(api: Gateway, agent: str, dba: str) -> None:
    """Held for the connection's patience, refused with the ticket, approved, and sent again."""
    with socket_to(api, agent) as line:
        ticket = json.loads(asked(line, '{"pay": 500}'))["ticket"]
        code, reason = closed(line)
        assert (code, reason.startswith(f"review_pending, ticket {ticket}: ")) == (1008, True)
    decided = httpx.post(f"{api.control_url}/v1/reviews/{ticket}/approve", headers={"authorization": f"Bearer {dba}"}, json={})
    assert decided.status_code == 200, decided.text
    with socket_to(api, agent) as line:
        assert asked(line, '{"pay": 500}') == '{"pay": 500}'


def test_the_backends_close_arrives_behind_its_masks(api: Gateway, agent: str) -> None:
    """Its code and what may be seen of its reason."""
    with socket_to(api, agent) as line:
        line.send("leave")
        code, reason = closed(line)
        assert code == 4001
        assert reason.startswith("as you asked, ")
        assert "4111 1111" not in reason


def test_what_a_server_tears_apart_is_seen_whole(api: Gateway, agent: str) -> None:
    """Fragments in text and binary, with a ping in between whose payload goes nowhere."""
    with socket_to(api, agent, host="raw.example") as line:
        first = asked(line, "torn")
        second = line.recv(timeout=20)
        assert "4111" not in first
        assert second == b'{"ssn":"xxxx"}'
        line.send("drop")
        assert closed(line) == (1011, "the backend has left")


@pytest.mark.parametrize(("host", "origin", "token", "status"), [
    ("crm.example", "https://evil.example", None, 403), ("down.example", None, None, 502), ("crm.example", None, "forged", 401)])
def test_what_is_not_opened_says_why(
    api: Gateway, agent: str, host: str, origin: str | None, token: str | None, status: int
) -> None:
    """By policy, for want of a backend or a token: an answer of HTTP as to any request."""
    with pytest.raises(InvalidStatus) as found, socket_to(api, token or agent, host=host, origin=origin):
        pass
    assert found.value.response.status_code == status


def test_sockets_go_through_the_forward_proxy(api: Gateway, agent: str, tmp_path: Path) -> None:
    """ws:// and wss:// by CONNECT, whose TLS ends at the gateway; a host that is no connection is not reached."""
    authority = tmp_path / "ca.pem"
    authority.write_text(run("ca", "--config", str(next(api.folder.glob("*.yaml")))))
    proxy = f"http://agent:{agent}@127.0.0.1:{api.port}"
    for url, trust in (("ws://crm.example/live", None), ("wss://crm.example/live", ssl.create_default_context(cafile=str(authority)))):
        with connect(url, proxy=proxy, ssl=trust) as line:
            assert [one["ssn"] for one in json.loads(asked(line, "people"))] == ["xxxx", "xxxx"]
            assert "nothing-is-erased" in asked(line, "erase")
            assert closed(line)[0] == 1008
    with pytest.raises(Exception, match="403"):
        connect("wss://evil.example/live", proxy=proxy)


def test_a_token_that_runs_out_ends_its_socket(api: Gateway, tokens: Issuer) -> None:
    """Between messages, with 1008 and the reason."""
    short = tokens.token("agent-2", "agents", agent="analyst", lifetime="3")
    with socket_to(api, short) as line:
        assert asked(line, "hello") == "hello"
        code, reason = closed(line)
        assert (code, reason.partition(":")[0]) == (1008, "expired")


def test_a_gateway_that_ends_says_so(web: WebApp, raw: int, tokens: Issuer, agent: str, tmp_path: Path) -> None:
    """1001 to its clients; every message was recorded, and the log is whole."""
    with gateway(tmp_path / "ending", CONFIG, env={"API_TOKEN": SECRET}, backend=web.port, raw=raw, issuer=tokens.url) as api, \
            socket_to(api, agent) as line:
        assert asked(line, "hello") == "hello"
        api.process.terminate()
        assert closed(line) == (1001, "shutting_down: the gateway is shutting down")
        api.process.wait(20)
        ends = {record["status"] for record in records(api, "outcome")}
        assert ends == {"ok", "unknown"}

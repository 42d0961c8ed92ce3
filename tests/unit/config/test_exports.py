"""Targets of the record: each kind has its keys, no secret stands in the file, and nothing goes in the clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockgate.app.targets import LogAt, exporters
from lockgate.config.load import load
from lockgate.errors import ConfigError

BASE = """
listeners: [{name: agents, protocol: postgres, address: "127.0.0.1:5432", plaintext_tokens: loopback}]
identity: {providers: [{name: idp, issuer: "https://idp.example", audience: lockgate}]}
connections:
  - {name: crm, protocol: postgres, address: "127.0.0.1:1", credential: {user: app}}
"""


def loaded(tmp_path: Path, text: str) -> object:
    path = tmp_path / "lockgate.yaml"
    path.write_text(BASE + text)
    return load(path)


@pytest.mark.parametrize("text", [
    "audit: {export: [{name: a, to: file, path: out.jsonl, size: 5000, age: 1d, keep: 3, names: true, statements: true}]}",
    "audit: {export: [{name: a, to: syslog, address: 'siem:6514'}, {name: b, to: syslog, address: 'siem:514', transport: udp}]}",
    "audit: {export: [{name: a, to: https, url: 'https://siem/x', token: {env: SIEM}, scheme: Splunk}]}",
    "audit: {export: [{name: a, to: https, url: 'http://127.0.0.1:9/x', unsafe_http: true}]}",
    "telemetry: {otlp: 'https://collector:4318', headers: [{name: x-api-key, value: {file: key}}]}",
])
def test_what_a_target_may_look_like(tmp_path: Path, text: str) -> None:
    """Every kind, with its own keys."""
    loaded(tmp_path, text)


@pytest.mark.parametrize(("text", "words"), [
    ("audit: {export: [{name: a, to: file}]}", "write `path: …`"),
    ("audit: {export: [{name: a, to: syslog, path: x}]}", "write `address: …`"),
    ("audit: {export: [{name: a, to: file, path: x, url: 'https://siem'}]}", "`url` is not a key of an export to file"),
    ("audit: {export: [{name: a, to: file, path: x}, {name: a, to: file, path: y}]}", "taken by another"),
    ("audit: {export: [{name: a, to: https, url: 'http://siem/x', unsafe_http: true}]}", "plain http"),
    ("audit: {export: [{name: a, to: https, url: 'http://127.0.0.1/x'}]}", "plain http"),
    ("audit: {export: [{name: a, to: https, url: 'https://user:canary@siem/x'}]}", "no credential"),
    ("audit: {export: [{name: a, to: https, url: 'ftp://siem'}]}", "must be a URL"),
    ("audit: {export: [{name: a, to: https, url: 'https://siem:port'}]}", "must be a URL"),
    ("audit: {export: [{name: a, to: https, url: 'https://siem', token: {}}]}", "one place"),
    ("audit: {export: [{name: a, to: https, url: 'https://siem', token: canary}]}", "token"),
    ("audit: {export: [{name: a, to: syslog, address: 's:1', transport: udp, raw: true}]}", "do not fit datagrams"),
    ("audit: {export: [{name: a, to: syslog, address: 's:1', transport: tcp, ca: ca.pem}]}", "belongs to `transport: tls`"),
    ("audit: {export: [{name: a, to: syslog, address: 's:1', ca: ca.pem}]}", "there is no file"),
    ("audit: {export: [{name: a, to: file, path: x, age: 0s}]}", "longer than nothing"),
    ("telemetry: {otlp: 'http://collector:4318'}", "plain http"),
    ("telemetry: {otlp: 'https://c', headers: [{name: x, value: {}}]}", "one place"),
    ("telemetry: {otlp: 'https://c', metrics: 0s}", "longer than nothing"),
])
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """A key of another kind, a missing one, a secret in the file, records in the clear."""
    with pytest.raises(ConfigError, match=r"lockgate\.yaml:6: ") as caught:
        loaded(tmp_path, text)
    assert words in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_secret_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    """It is found before anything is served, and the message names its place."""
    found = loaded(tmp_path, "audit: {export: [{name: a, to: https, url: 'https://siem', token: {env: NOT_SET_ANYWHERE}}]}")
    with pytest.raises(ConfigError, match="NOT_SET_ANYWHERE"):
        exporters(found.settings, LogAt("log", tmp_path))  # type: ignore[attr-defined]

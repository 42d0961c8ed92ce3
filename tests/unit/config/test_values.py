"""Durations, secrets and the schema."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import BaseModel, Field

from lockgate.config.duration import seconds
from lockgate.config.schema import schema
from lockgate.config.secrets import SecretError, read_secret
from lockgate.config.settings import SecretReference
from lockgate.errors import ConfigError


@pytest.mark.parametrize(("text", "value"), [
    ("250ms", 0.25), ("30s", 30.0), ("15m", 900.0), ("2h", 7200.0), ("7d", 604_800.0),
])
def test_durations_are_seconds(text: str, value: float) -> None:
    """Each unit."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "5", "m", "1.5h", "-5m", "5 m", "5M", "٣s", "9" * 30 + "s", "5m\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigError):
        seconds(text)


def test_a_secret_is_read_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment as it is then, from a file without its last newline."""
    monkeypatch.setenv("LG_TEST_SECRET", "one")
    reference = SecretReference(env="LG_TEST_SECRET")
    assert read_secret(reference).reveal() == "one"
    monkeypatch.setenv("LG_TEST_SECRET", "two")
    assert read_secret(reference).reveal() == "two"
    path = tmp_path / "secret"
    path.write_bytes(b" pass word \r\n")
    assert read_secret(SecretReference(file=path)).reveal() == " pass word "


@pytest.mark.parametrize("content", [b"", b"\n", b"a\0b", b"\xff\xfe", b"x" * 70_000])
def test_an_unusable_secret_is_an_error_that_does_not_show_it(tmp_path: Path, content: bytes) -> None:
    """Empty, binary, too long."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(SecretError, match="file") as failed:
        read_secret(SecretReference(file=path))
    assert "xxx" not in str(failed.value)


def test_a_secret_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable, no file, a folder, a pipe that would block."""
    monkeypatch.delenv("LG_TEST_SECRET", raising=False)
    os.mkfifo(tmp_path / "pipe")
    for reference in (SecretReference(env="LG_TEST_SECRET"), SecretReference(file=tmp_path / "none"),
                      SecretReference(file=tmp_path), SecretReference(file=tmp_path / "pipe"), SecretReference()):
        with pytest.raises(SecretError):
            read_secret(reference)


class Inner(BaseModel):
    """Inside options."""

    depth: int = 1


class Options(BaseModel):
    """Keys of echo."""

    inner: Inner = Field(default=Inner(), description="More.")


def test_the_schema_covers_protocol_options_and_describes_keys() -> None:
    """Editors offer each protocol's own keys, and `with` under its written name."""
    found = schema({"echo": Options})
    definitions = found["$defs"]
    assert definitions["Connection"]["properties"]["protocol"]["enum"] == ["echo"]
    assert definitions["echo_options"]["properties"]["inner"]["description"] == "More."
    assert "echo_Inner" in definitions
    assert "with" in definitions["MaskSettings"]["properties"]
    assert found["additionalProperties"] is False
    undescribed = [f"{name}.{key}" for name, model in definitions.items() if not name.startswith("echo")
                   for key, value in model["properties"].items() if "description" not in value and "$ref" not in value]
    assert undescribed == [key for key in undescribed if key.split(".")[1] in _PLAIN]


_PLAIN = {"name", "user", "by", "tls", "password", "who", "address", "groups", "subjects", "clients", "agents",
          "providers", "protocol"}

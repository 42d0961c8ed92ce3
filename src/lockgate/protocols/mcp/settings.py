"""The protocol's own keys of a connection (`options` in the configuration): HTTP's, what definitions are accepted, and the
program that is the server where it has no address."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lockgate.config.settings import Connection
from lockgate.config.strict import Duration, SecretReference
from lockgate.protocols.http.credentials import secrets_of
from lockgate.protocols.http.settings import HttpSettings, Template

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class McpSettings(HttpSettings):
    """What an MCP connection may say besides address, credential and TLS."""

    patience: Duration = Field(
        default="25s", description="How long a request under review is held, with progress, before it is refused with its "
                                   "ticket.")
    paths: tuple[Template, ...] = Field(
        default=(), max_length=2000,
        description="Templates of the paths on which the server speaks MCP, like `/mcp`: others are refused with 404. Left out, "
                    "all of the host is taken for an MCP server.")
    pins: Literal["first", "configured", "off"] = Field(
        default="first", description="Which definitions of tools are accepted without a person: those of the first whole "
                                     "list that the gateway sees, those in `definitions`, or all.")
    definitions: dict[str, Digest] | None = Field(
        default=None, max_length=2000, description="Tool → SHA-256 of its definition, with `pins: configured`; "
                                                   "`lockgate tools list` prints it.")

    command: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] | None = Field(
        default=None, min_length=1, max_length=200,
        description="Of a connection without an address: the program that is the server, and its arguments; no shell. "
                    "Left out, `lockgate mcp run -- PROGRAM …` names it.")
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")], str | SecretReference] = Field(
        default={}, max_length=100,
        description="What that program's environment holds besides a minimum (PATH, HOME, LANG …): name → text, or where a "
                    "secret is (`{env: …}`, `{file: …}`). The gateway's own environment is not passed on.")
    directory: Path = Field(default=Path(), description="Where that program starts; else in the folder of this file.")

    @model_validator(mode="after")
    def _pinned(self) -> McpSettings:
        if (self.pins == "configured") != (self.definitions is not None):
            raise ValueError("`definitions` goes with `pins: configured`, and it needs them")
        if self.command is None and (self.environment or "directory" in self.model_fields_set):
            raise ValueError("`environment` and `directory` go with `command`: who names the program on a command line could "
                             "name one that tells what it was given")
        if self.openapi is not None:
            raise ValueError("an OpenAPI document lists requests of HTTP, not tools; use an HTTP connection for it")
        if self.text == "deny":
            raise ValueError("what tools answer is text for the most part, in which a mask by name finds JSON only; take `text` away")
        if self.tunnel:
            raise ValueError("a blind tunnel cannot be looked into; use an HTTP connection for it")
        return self


def secrets_given(connection: Connection) -> tuple[SecretReference, ...]:
    """Secrets that a server gets besides the credential: of a program, what its environment holds."""
    environment = settings_of(connection.options).environment.values()
    return (*secrets_of(connection), *(value for value in environment if not isinstance(value, str)))


def settings_of(options: object) -> McpSettings:
    """A connection's options, whether they were validated before or not."""
    if isinstance(options, McpSettings):
        return options
    return McpSettings() if options is None else McpSettings.model_validate(options)

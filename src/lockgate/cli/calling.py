"""The control API from the command line: one request, with the token of whoever asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from lockgate.cli.shown import clean
from lockgate.errors import ConfigError, LockgateError
from lockgate.model import Secret

TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="A file with your token; default: LOCKGATE_TOKEN.")
]


class ApiError(LockgateError):
    """The control API said no, or could not be reached."""

    code = "api"

    def __init__(self, message: str, *, advice: str = "", said: str = "") -> None:
        """`said`: the code of the gateway's refusal, where it gave one."""
        super().__init__(message, advice=advice)
        self.said = said


def token_of(file: Path | None) -> Secret:
    """The reviewer's token, from a file or from LOCKGATE_TOKEN."""
    if file is not None:
        try:
            text = file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {file}: {type(error).__name__}") from None
    else:
        text = os.environ.get("LOCKGATE_TOKEN", "").strip()
    if not text:
        raise ConfigError("no token", advice="Set LOCKGATE_TOKEN, or use --token-file.")
    return Secret(text)


def call(url: str, path: str, token: Secret, body: Mapping[str, Any] | None = None) -> Any:
    """One request to the control API; `ApiError` with its words."""
    try:
        with httpx.Client(base_url=url, timeout=20.0, trust_env=False) as client:
            answer = client.request(
                "GET" if body is None else "POST", path, json=body,
                headers={"Authorization": f"Bearer {token.reveal()}"},
            )
    except httpx.HTTPError as error:
        raise ApiError(
            f"cannot reach the gateway at {url}: {type(error).__name__}",
            advice="Give its control address with --url or LOCKGATE_URL.",
        ) from None
    try:
        content = answer.json()
    except ValueError:
        raise ApiError(f"{url} is not a gateway's control address (HTTP {answer.status_code})") from None
    if answer.is_error:
        raise ApiError(clean(content.get("detail", f"HTTP {answer.status_code}")), said=str(content.get("code", "")))
    return content

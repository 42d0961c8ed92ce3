"""What every settings model shares: strictness, the forms of names, addresses and durations, where a secret is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Address = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")]
AddressOrNone = Annotated[str, Field(pattern=r"^((\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5})?$")]     # "": no address
Duration = Annotated[str, Field(pattern=r"^\d+(ms|s|m|h|d)$")]


class Strict(BaseModel):
    """Base of all settings: frozen, unknown keys refused, no coercion surprises."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SecretReference(Strict):
    """Where a secret is: exactly one of an environment variable or a file. Never the secret itself."""

    env: str | None = Field(default=None, min_length=1, description="An environment variable of the gateway.")
    file: Path | None = Field(default=None, description="A file; one newline at its end is ignored.")

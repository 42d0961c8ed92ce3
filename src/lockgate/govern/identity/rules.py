"""What one provider's tokens must look like: the configured part of the checks.

Apart from the checks so that an empty or contradictory rule is refused when the configuration is
read, never at a login: a rule that allows no algorithm, or any audience, cannot be built.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lockgate.errors import ConfigError
from lockgate.govern.identity.keys import SUPPORTED

LONGEST_LEEWAY = 300.0


@dataclass(frozen=True, slots=True)
class ProviderRules:
    """One trusted issuer. Claims are named by dotted path; `leeway` is in seconds."""

    name: str
    issuer: str
    audience: str
    groups_claim: str = "groups"
    agent_claim: str | None = None
    model_claim: str | None = None
    algorithms: frozenset[str] = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
    leeway: float = 30.0

    def __post_init__(self) -> None:
        """Raises `ConfigError` for a rule that would accept nothing or too much."""
        where = f"identity provider {self.name!r}"
        for key in ("name", "issuer", "audience", "groups_claim"):
            if not getattr(self, key):
                raise ConfigError(f"{where}: {key} is empty")
        if self.agent_claim == "" or self.model_claim == "":
            raise ConfigError(f"{where}: a claim path is empty; leave it out instead")
        if not self.algorithms:
            raise ConfigError(f"{where}: algorithms is empty; allow at least one, e.g. ES256")
        unknown = sorted(self.algorithms - SUPPORTED)
        if unknown:
            raise ConfigError(
                f"{where}: algorithms may not hold {', '.join(unknown)}; choose from "
                + ", ".join(sorted(SUPPORTED))
            )
        if not (math.isfinite(self.leeway) and 0 <= self.leeway <= LONGEST_LEEWAY):
            raise ConfigError(f"{where}: leeway must be between 0s and {LONGEST_LEEWAY:.0f}s")


def index_providers(rules: Iterable[ProviderRules]) -> Mapping[str, ProviderRules]:
    """The rules by issuer. Raises `ConfigError` for none, or for a name or issuer given twice."""
    result: dict[str, ProviderRules] = {}
    names: set[str] = set()
    for rule in rules:
        if rule.issuer in result:
            raise ConfigError(f"identity provider {rule.name!r}: issuer {rule.issuer} is configured twice")
        if rule.name in names:
            raise ConfigError(f"identity provider {rule.name!r} is configured twice")
        result[rule.issuer] = rule
        names.add(rule.name)
    if not result:
        raise ConfigError("identity: at least one provider is needed")
    return result

"""What a file may say and probably does not mean: `lockgate check` shows it, and nothing is stopped by it.

Apart from `policy_checks`, whose findings are errors. Each yields (location, sentence).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel

from lockgate.config.document import Location
from lockgate.config.policies import PolicySettings
from lockgate.config.rules import labels_named
from lockgate.config.secrets import SecretError, read_secret
from lockgate.config.settings import Settings
from lockgate.config.strict import SecretReference


def doubts(settings: Settings) -> Iterator[tuple[Location, str]]:
    """Everything that has no effect, or a surprising one."""
    if not settings.policies:
        yield (), "there are no policies, so nobody can connect; write one with `allow: connect`"
    elif not any(policy.allow for policy in settings.policies):
        yield ("policies",), "no rule allows anything, so nobody can connect; write one with `allow: connect`"
    used = {name for policy in settings.policies for mask in policy.mask
            for name in labels_named(mask.labels, settings.labels)}
    for name in settings.labels:
        if name not in used:
            yield ("labels", name), f"no mask uses the label `{name}`, so it hides nothing; write `labels: [{name}]` in a mask"
    for index, policy in enumerate(settings.policies):
        yield from _policy(("policies", index), policy)


def secrets_named(settings: Settings) -> Iterator[tuple[Location, SecretReference]]:
    """Every place that names a secret, a protocol's own options included."""
    return _references((), settings)


def secret_doubts(secrets: Iterable[tuple[str, SecretReference]]) -> Iterator[str]:
    """Secrets, by where they are named, that cannot be read here and now. Each is read and let go of. It stops nothing:
    the gateway reads them where it runs, most of them when they are needed.
    """
    for place, reference in secrets:
        try:
            read_secret(reference)
        except SecretError as error:
            yield f"{place}: {error.args[0]}, here at least; the gateway needs it where it runs"


def _references(at: Location, value: object) -> Iterator[tuple[Location, SecretReference]]:
    if isinstance(value, SecretReference):
        yield at, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _references((*at, name), getattr(value, name))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _references((*at, name), item)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _references((*at, index), item)


def _policy(at: Location, policy: PolicySettings) -> Iterator[tuple[Location, str]]:
    does = (policy.allow, policy.deny, policy.review, policy.mask, policy.requests, policy.limit, policy.audit)
    if policy.notice and not any(does) and policy.new_columns != "mask":
        yield (*at, "notice"), f"rule `{policy.name}` only gives notice of what other rules mask; it hides nothing itself"
    for place, mask in enumerate(policy.mask):
        if "lookups" in mask.model_fields_set and mask.predicates != "equality":
            yield (*at, "mask", place, "lookups"), "`lookups` counts with `predicates: equality` only"
    if policy.limit is not None:
        for key in ("rows", "task_rows"):
            if getattr(policy.limit, key) == 0:
                yield (*at, "limit", key), f"`{key}: 0` lets no statement return a row, drivers' own questions included"

"""What no single value of `labels` and `policies` shows: names that must exist, keys that do not go together.

Apart from `checks`, which does the same for the rest of the file. Each check yields (location, sentence).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import re2
from pydantic import BaseModel

from lockgate.config.document import Location
from lockgate.config.policies import LabelSettings, MaskSettings, PolicySettings
from lockgate.config.rules import custom_of, labels_named
from lockgate.config.settings import Connection, Settings
from lockgate.config.wording import closest
from lockgate.model import CustomDetector

Problem = tuple[Location, str]

PARTS = 4
"""Of a glob that begins with a connection's name."""

_GLOB = re.compile(r"[^.\s]+(\.[^.\s]+){0,3}")
_PATH = re.compile(r"\$(\.\.?[A-Za-z_][A-Za-z0-9_]*|\.\.?\*|\[\*\]|\[[0-9]{1,6}\]|\[\"[^\"\\]{1,200}\"\]){1,64}")
_LONGEST_PATTERN = 512


@dataclass(frozen=True, slots=True)
class Known:
    """What the rest of the gateway knows, for names in the file. None: not checked.

    `protocols` maps a protocol's name to the model of its `options`; `condition` says what is wrong
    with a rule's `when`, or None; `detector` the same of a detector of the file's own, `recipient` of somebody for
    whom recordings are encrypted. `userless` are protocols whose credential needs no user's name, `proxies` those that can be
    a forward proxy, `piped` those whose backend can be a program, without an address. `connection` tells, with the
    keys that lead there, what its protocol finds wrong with a connection.
    `attach` reads files that options name: (protocol, options, the file's folder) → the options with what they hold, and the
    files.
    """

    protocols: Mapping[str, type[BaseModel]] | None = None
    detectors: Collection[str] | None = None
    condition: Callable[[str], str | None] | None = None
    detector: Callable[[CustomDetector], str | None] | None = None
    recipient: Callable[[str], str | None] | None = None
    userless: Collection[str] = ()
    proxies: Collection[str] = ()
    piped: Collection[str] = ()
    connection: Callable[[Connection], Iterable[tuple[tuple[str, ...], str]]] | None = None
    attach: Callable[[str, BaseModel, Path], tuple[BaseModel, tuple[Path, ...]]] | None = None


def check_policies(settings: Settings, known: Known) -> Iterator[Problem]:
    """Every problem of detectors, labels and rules whose single values are right."""
    for place, detector in enumerate(settings.detectors):
        trouble = None if known.detector is None else known.detector(custom_of(detector))
        if trouble is not None:
            yield ("detectors", place), trouble
    if known.detectors is not None:
        known = replace(known, detectors={*known.detectors, *(detector.name for detector in settings.detectors)})
    for name, label in settings.labels.items():
        at: Location = ("labels", name)
        if not (label.columns or label.names or label.types or label.detect):
            yield at, f"label `{name}` names nothing; give it columns, names, types or detect"
        yield from _globs((*at, "columns"), label.columns, settings)
        yield from _patterns((*at, "names"), label.names)
        yield from _detectors((*at, "detect"), label.detect, known)
    for index, policy in enumerate(settings.policies):
        yield from _policy(("policies", index), policy, settings, known)


def no_connection(name: str, settings: Settings) -> str:
    """What to say of a connection that is not there."""
    return f"unknown connection `{name}`; {closest(name, [item.name for item in settings.connections])}"


def _policy(at: Location, policy: PolicySettings, settings: Settings, known: Known) -> Iterator[Problem]:
    names = {connection.name for connection in settings.connections}
    for index, name in enumerate(policy.connections):
        if name not in names:
            yield (*at, "connections", index), no_connection(name, settings)
    yield from _effects(at, policy)
    if policy.when is not None and known.condition is not None:
        trouble = known.condition(policy.when)
        if trouble is not None:
            yield (*at, "when"), trouble
    if policy.review is not None and not all(group.strip() for group in policy.review.by):
        yield (*at, "review", "by"), "a reviewers' group has no name; write the group as the token names it"
    for index, mask in enumerate(policy.mask):
        yield from _mask((*at, "mask", index), mask, policy, settings, known)
    for index, request in enumerate(policy.requests):
        yield from _detectors((*at, "requests", index, "detect"), request.detect, known)
    if policy.limit is not None and policy.limit == type(policy.limit)():
        yield (*at, "limit"), "`limit` bounds nothing; give it rows, task_rows, changed, requests or bytes"


def _mask(at: Location, mask: MaskSettings, policy: PolicySettings, settings: Settings, known: Known) -> Iterator[Problem]:
    if sum(map(bool, (mask.columns, mask.detect, mask.labels))) != 1:
        yield at, ("a mask is for `columns`, for `labels` or for `detect`, one of them; write two masks where you "
                   "need both")
    yield from _globs((*at, "columns"), mask.columns, settings, policy.connections)
    yield from _detectors((*at, "detect"), mask.detect, known)
    for place, glob in enumerate(mask.labels):
        names = labels_named((glob,), settings.labels)
        if not names:
            yield (*at, "labels", place), f"unknown label `{glob}`; {closest(glob, settings.labels)}"
        elif policy.connections and all(_is_elsewhere(settings.labels[name], policy.connections) for name in names):
            yield (*at, "labels", place), (
                f"`{glob}` names columns of other connections than the rule's ({', '.join(policy.connections)})")
    for place, path in enumerate(mask.paths):
        if not _PATH.fullmatch(path) or len(path) > _LONGEST_PATTERN:
            yield (*at, "paths", place), f"`{path}` is not a path; write something like $.ssn, $.items[*].card or $..ssn"
    if mask.paths and mask.detect:
        yield (*at, "paths"), "`paths` are for columns and labels, not for detectors"
    if mask.returns and mask.method != "token":
        yield (*at, "returns"), "only a `token` can be turned back; write `with: token`, or leave `returns` out"
    finding = [name for name in labels_named(mask.labels, settings.labels) if settings.labels[name].detect]
    if (mask.detect or finding) and mask.method not in ("partial", "redact", "null"):
        label = f" (label `{finding[0]}` has `detect`)" if finding else ""
        yield (*at, "with"), f"what a detector finds can be hidden with partial, redact or null{label}"


def _globs(
    at: Location, globs: tuple[str, ...], settings: Settings, only: tuple[str, ...] = ()
) -> Iterator[Problem]:
    """Forms, and that a first part of four names a connection: of those in `only`, where it is given."""
    connections = [connection.name for connection in settings.connections]
    for place, glob in enumerate(globs):
        first = _connection_of(glob)
        if not _GLOB.fullmatch(glob):
            yield (*at, place), (
                f"`{glob}` is not a column glob; write connection.schema.relation.column, schema.relation.column, "
                "relation.column or *.column")
        elif first is not None and not _names_one(first, connections):
            yield (*at, place), f"`{glob}` begins with the unknown connection `{first}`; {closest(first, connections)}"
        elif first is not None and only and not _names_one(first, only):
            yield (*at, place), (
                f"`{glob}` is on another connection than the rule; {closest(first, only)}, or change the rule's "
                "`connections`")


def _connection_of(glob: str) -> str | None:
    """The part of a glob that names connections, None where it names none."""
    parts = glob.split(".")
    return parts[0] if len(parts) == PARTS else None


def _is_elsewhere(label: LabelSettings, connections: tuple[str, ...]) -> bool:
    """Whether a label names columns alone, and those on other connections only."""
    firsts = [_connection_of(glob) for glob in label.columns]
    return not (label.names or label.types or label.detect) and bool(firsts) and all(
        first is not None and not _names_one(first, connections) for first in firsts)


def _names_one(glob: str, connections: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for name in connections)


def _patterns(at: Location, patterns: tuple[str, ...]) -> Iterator[Problem]:
    options = re2.Options()
    options.log_errors = False
    for place, pattern in enumerate(patterns):
        if len(pattern) > _LONGEST_PATTERN:
            yield (*at, place), f"a pattern may have {_LONGEST_PATTERN} characters"
            continue
        try:
            re2.compile(pattern, options)
        except re2.error as error:
            yield (*at, place), f"`{pattern}` is not a regular expression (RE2): {_words(error)[:120]}"


def _words(error: re2.error) -> str:
    """RE2 gives its reason as bytes."""
    reason = error.args[0] if error.args else "it cannot be read"
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def _detectors(at: Location, names: tuple[str, ...], known: Known) -> Iterator[Problem]:
    for place, name in enumerate(names):
        if known.detectors is not None and name not in known.detectors:
            yield (*at, place), f"unknown detector `{name}`; {closest(name, known.detectors)}"


def _effects(at: Location, policy: PolicySettings) -> Iterator[Problem]:
    restricts = (policy.deny is not None or policy.review is not None or policy.mask or policy.requests
                 or policy.limit is not None or policy.notice or policy.new_columns == "mask"
                 or policy.record or policy.record_raw)
    if not restricts and policy.allow is None and policy.audit is None:
        yield at, f"rule `{policy.name}` does nothing; give it allow, deny, review, mask, requests, limit, audit or record"
    elif not restricts and policy.allow is None and policy.audit == "async":
        yield (*at, "audit"), ("a rule can only raise the audit mode to `full`; for `async` write audit.mode, "
                               "or `audit` of the connection")
    if policy.deny is not None:
        if not policy.deny.strip():
            yield (*at, "deny"), "`deny` is the reason that the client reads; write one"
        if policy.allow is not None or policy.review is not None:
            yield (*at, "deny"), "`deny` always wins over `allow` and `review`; write them as rules of their own"
    if policy.when is not None and not policy.when.strip():
        yield (*at, "when"), "`when` is empty; write a condition or leave it out"

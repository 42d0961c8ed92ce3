"""`lockgate.yaml` → settings and rules, or one `ConfigError` that names every problem by its line.

Three passes: YAML to values with lines (`document`), values to types (`settings`, worded by
`wording`), types against each other (`checks`). What other layers know (protocols, detectors, the
condition language) comes in as `Known`, because this layer imports none of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lockgate.config.checks import check
from lockgate.config.document import Document, Location, read
from lockgate.config.doubts import doubts, secrets_named
from lockgate.config.policy_checks import PARTS, Known
from lockgate.config.rules import custom_of, labels_named, rule_of
from lockgate.config.settings import Settings
from lockgate.config.strict import SecretReference
from lockgate.config.wording import explain
from lockgate.errors import ConfigError
from lockgate.model import Rule

M = TypeVar("M", bound=BaseModel)
_NOTHING_KNOWN = Known()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration. Paths in `settings` are absolute or relative to the file's folder;
    `policy_hash` is the hex SHA-256 of policies, labels, detectors, time zone, identity and connections (`config_hash`:
    of all). `lines` says where a rule, or what a rule names (a glob, by rule and text), is written; `doubts` are what is
    probably a mistake, each with its line. `files` are those that it was made of besides `source`; `secrets`
    say where a secret is named, each with its line.
    """

    settings: Settings
    rules: tuple[Rule, ...]
    policy_hash: str
    config_hash: str
    source: Path
    lines: Mapping[tuple[str, str], int] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    secrets: tuple[tuple[str, SecretReference], ...] = ()

    def place(self, rule: str, subject: str = "") -> str:
        """``file:line`` of what a rule names, or of the rule."""
        line = self.lines.get((rule, subject)) or self.lines.get((rule, ""))
        return str(self.source) if line is None else f"{self.source}:{line}"


def load(path: Path, known: Known = _NOTHING_KNOWN) -> Loaded:
    """Read, validate and check one file."""
    path = Path(path)
    document = read(path)
    problems = list(document.problems)
    written = _typed(document, problems)
    if written is None:
        raise _error(path, problems)
    written, files = _with_options(written, known, document, problems, path.parent)
    settings = _resolved(written, path.parent)
    problems.extend((document.line(at), text) for at, text in check(settings, known))
    if problems:
        raise _error(path, problems)
    customs = {detector.name: custom_of(detector) for detector in settings.detectors}
    rules = tuple(
        rule_of(policy, settings.labels, customs, f"{path}:{document.line(('policies', index))}")
        for index, policy in enumerate(settings.policies)
    )
    return Loaded(
        settings, rules, policy_hash(written), _digest(_dumped(written)), path, dict(_lines(settings, document)),
        tuple(f"{path}:{line}: {text}" for line, text in sorted((document.line(at), text) for at, text in doubts(settings))),
        files, tuple((f"{path}:{document.line(at)}", reference) for at, reference in secrets_named(settings)))


def state_of(path: Path) -> Path:
    """The state folder that a file names. Whether the rest of it is right is the gateway's to say."""
    content = read(path).content
    state = content.get("state") if isinstance(content, dict) else None
    return path.parent / (state if isinstance(state, str) and state else Settings.model_fields["state"].default)


def policy_hash(settings: Settings) -> str:
    """What decisions depend on, hashed; the order of rules and connections does not matter."""
    whole = _dumped(settings)
    return _digest({
        "policies": sorted(whole["policies"], key=_name_of),
        "connections": sorted(whole["connections"], key=_name_of),
        "identity": whole["identity"],
        "labels": whole["labels"],
        "detectors": whole["detectors"],
        "timezone": whole["timezone"],
    })


def _lines(settings: Settings, document: Document) -> Iterable[tuple[tuple[str, str], int]]:
    """Where rules are, and the globs, patterns and types of their masks and labels, by the text that names them."""
    for index, policy in enumerate(settings.policies):
        yield (policy.name, ""), document.line(("policies", index))
        for place, mask in enumerate(policy.mask):
            at: Location = ("policies", index, "mask", place)
            yield from _globs(policy.name, (*at, "columns"), mask.columns, document)
            for name in labels_named(mask.labels, settings.labels):
                label = settings.labels[name]
                yield from _globs(policy.name, ("labels", name, "columns"), label.columns, document)
                yield from _globs(policy.name, ("labels", name, "names"), label.names, document, "names ")
                yield from _globs(policy.name, ("labels", name, "types"), label.types, document, "type ")


def _globs(
    rule: str, at: Location, globs: Iterable[str], document: Document, word: str = ""
) -> Iterable[tuple[tuple[str, str], int]]:
    for place, glob in enumerate(globs):
        line = document.line((*at, place))
        yield (rule, word + glob), line
        if not word and glob.count(".") == PARTS - 1:
            yield (rule, glob.partition(".")[2]), line      # as it is on its connection


# ---------------------------------------------------------------- passes


def _typed(document: Document, problems: list[tuple[int, str]]) -> Settings | None:
    if not isinstance(document.content, dict):
        problems.append((1, "the file must hold keys and values, like `listeners: […]`"))
        return None
    try:
        return Settings.model_validate(document.content)
    except ValidationError as error:
        problems.extend(_explained(error, Settings, (), document))
        return None


def _with_options(
    settings: Settings, known: Known, document: Document, problems: list[tuple[int, str]], folder: Path
) -> tuple[Settings, tuple[Path, ...]]:
    """`options` of each connection as its protocol's own type, with the files that they name read."""
    connections, files = [], list[Path]()
    for index, connection in enumerate(settings.connections):
        model = None if known.protocols is None else known.protocols.get(connection.protocol)
        if model is not None:
            at: Location = ("connections", index, "options")
            try:
                options = model.model_validate({} if connection.options is None else connection.options)
                if known.attach is not None:
                    options, read_too = known.attach(connection.protocol, options, folder)
                    files += read_too
                connection = connection.model_copy(update={"options": options})
            except ValidationError as error:
                problems.extend(_explained(error, model, at, document))
            except ConfigError as error:
                problems.append((document.line(at), error.args[0]))
        connections.append(connection)
    return settings.model_copy(update={"connections": tuple(connections)}), tuple(files)


def _explained(
    error: ValidationError, model: type[BaseModel], prefix: Location, document: Document
) -> Iterable[tuple[int, str]]:
    found = error.errors(include_url=False)
    places = [tuple(entry["loc"]) for entry in found]
    for entry, inner in zip(found, places, strict=True):
        # pydantic also calls a list too short when its items are wrong: that is told at the items
        if entry["type"] == "too_short" and any(place[:len(inner)] == inner != place for place in places):
            continue
        at = prefix + inner
        line = document.keys.get(at) or document.line(at)
        yield line, explain(entry, model, inner)


def _resolved(model: M, folder: Path) -> M:
    """The same settings with every relative path taken from the file's folder."""
    changes: dict[str, object] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        resolved = _resolved_value(value, folder)
        if resolved is not value:
            changes[name] = resolved
    return model.model_copy(update=changes) if changes else model


def _resolved_value(value: object, folder: Path) -> object:
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, BaseModel):
        return _resolved(value, folder)
    if isinstance(value, tuple) and any(isinstance(item, (BaseModel, Path)) for item in value):
        return tuple(_resolved_value(item, folder) for item in value)
    if isinstance(value, dict) and any(isinstance(item, (BaseModel, Path)) for item in value.values()):
        return {name: _resolved_value(item, folder) for name, item in value.items()}
    return value


def _error(path: Path, problems: Iterable[tuple[int, str]]) -> ConfigError:
    return ConfigError("\n".join(f"{path}:{line}: {text}" for line, text in sorted(set(problems))))


def _dumped(settings: Settings) -> dict[str, Any]:
    return settings.model_dump(mode="json", by_alias=True)


def _name_of(entry: dict[str, str]) -> str:
    return entry["name"]


def _digest(value: object) -> str:
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
    ).hexdigest()

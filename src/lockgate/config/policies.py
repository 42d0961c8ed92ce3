"""What `labels` and `policies` of `lockgate.yaml` may hold. What a rule *means* is `govern.policy`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lockgate.config.strict import Duration, Name, Strict

LabelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]


class WhoSettings(Strict):
    """Whom a rule speaks of; nothing given means everyone."""

    groups: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()


class DetectorSettings(Strict):
    """A detector of your own: a regular expression (RE2, over UTF-8 bytes), and where it looks."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="How rules call it.")
    pattern: str = Field(min_length=1, max_length=512, description="What it finds; of one group, what the group matches.")
    validator: str | None = Field(default=None, description="Arithmetic that a find must pass: card, luhn, mod97, ssn, entropy.")
    columns: tuple[str, ...] = Field(default=(), description="Look only in these columns, as globs.")
    types: tuple[str, ...] = Field(default=(), description="Look only in columns of these types.")
    min_length: int = Field(default=0, ge=0, strict=True, description="Bytes that a value must have.")
    max_length: int | None = Field(default=None, ge=1, strict=True, description="Bytes that a value may have.")
    keep: int = Field(default=0, ge=0, strict=True, description="Bytes at its end that `partial` leaves readable.")


class LabelSettings(Strict):
    """What one label names. A column has it if any of the keys says so."""

    columns: tuple[str, ...] = Field(
        default=(), description="Globs over [connection.]schema.relation.column, from the right: `*.ssn`, "
                                "`customers.ssn`, `crm.public.*.ssn`.")
    names: tuple[str, ...] = Field(
        default=(), description="Regular expressions (RE2), found anywhere in a column's name.")
    types: tuple[str, ...] = Field(default=(), description="Globs over the name of a column's type: `citext`, `inet*`.")
    detect: tuple[str, ...] = Field(default=(), description="Detectors, wherever they find something.")


class MaskSettings(Strict):
    """One mask: labels, columns by glob, or detectors by name."""

    labels: tuple[str, ...] = Field(default=(), description="Names of labels, or globs over them: `pii.*`.")
    columns: tuple[str, ...] = Field(
        default=(), description="Globs over [connection.]schema.relation.column, from the right: `*.ssn`, "
                                "`customers.ssn`.")
    detect: tuple[str, ...] = Field(default=(), description="Detectors, wherever they find something.")
    method: Literal["partial", "date_shift", "fpe", "token", "hash", "fake", "redact", "null"] = Field(
        alias="with", description="How it is hidden; `null` is the strongest, `partial` the weakest.")
    paths: tuple[str, ...] = Field(
        default=(), description="JSON paths (`$.ssn`, `$.items[*].card`): hide these parts of json and jsonb "
                                "columns and leave the rest.")
    predicates: Literal["refuse", "masked", "equality", "allow"] = Field(
        default="refuse", description="What WHERE, JOIN, ORDER BY and the like may do with the columns: nothing, "
                                      "compare with the masks, equal constants, or use the real values.")
    lookups: str = Field(
        default="60/h", pattern=r"^[1-9]\d{0,5}/h$",
        description="With `predicates: equality`: comparisons per hour and identity. Each constant or parameter that "
                    "a column is compared with is one, wherever it stands in a statement; a statement that needs more "
                    "than is left is refused and counts nothing.")
    key: Literal["task", "connection"] = Field(
        default="task", description="Where equal values get equal masks: in one task, or in all of a connection.")
    returns: bool = Field(
        default=False, strict=True, description="With `token`: a token that the agent sends back stands for its value.")


class RequestSettings(Strict):
    """Content to look for in what agents send."""

    detect: tuple[str, ...] = Field(min_length=1, description="Detectors.")
    action: Literal["record", "mask", "block"] = Field(
        alias="do", description="Put the find on record, replace it, or refuse the request.")


class LimitSettings(Strict):
    """Bounds on rows, requests and bytes."""

    rows: int | None = Field(default=None, ge=0, strict=True, description="Rows that one statement delivers.")
    task_rows: int | None = Field(
        default=None, ge=0, strict=True,
        description="Rows that an identity's agent gets on a connection, over all its sessions.")
    changed: int | None = Field(
        default=None, ge=0, strict=True, description="Rows that one statement inserts, updates or deletes.")
    requests: str | None = Field(
        default=None, pattern=r"^[1-9]\d{0,5}/[smh]$",
        description="Requests of an identity's agent on a connection in a second, minute or hour, where the protocol has "
                    "them: `60/m`.")
    bytes: int | None = Field(
        default=None, ge=0, strict=True,
        description="Bytes of content that an identity's agent is answered on a connection, over all its sessions, "
                    "while the gateway runs, where the protocol has answers with content.")


class ReviewSettings(Strict):
    """Who decides, how long a ticket lives, and whether the client waits."""

    by: tuple[str, ...] = Field(min_length=1, description="Groups; a reviewer is in one of them.")
    expires: Duration = Field(default="15m", description="How long a ticket lives.")
    mode: Literal["hold", "ticket"] = Field(
        default="hold", description="Let the client wait, or refuse at once with a ticket to retry with.")


class PolicySettings(Strict):
    """One rule. It must say at least one thing besides whom and what it speaks of."""

    name: Name
    who: WhoSettings = WhoSettings()
    connections: tuple[str, ...] = Field(default=(), description="Names of connections; none means all.")
    when: str | None = Field(default=None, description="A CEL condition over op, identity, connection, "
                                                       "session and time.")
    allow: Literal["connect"] | None = Field(default=None, description="Let sessions and requests in.")
    deny: str | None = Field(default=None, description="Refuse, with this reason for the client.")
    review: ReviewSettings | None = Field(default=None, description="A person has to approve.")
    mask: tuple[MaskSettings, ...] = Field(default=(), description="What results must not show.")
    new_columns: Literal["mask", "allow"] | None = Field(
        default=None, description="`mask` hides columns that the connection's list of known columns does not hold.")
    notice: bool = Field(
        default=False, strict=True, description="Tell clients by a notice which columns of a result are masked.")
    requests: tuple[RequestSettings, ...] = Field(default=(), description="What agents must not send.")
    limit: LimitSettings | None = Field(
        default=None, description="How many rows may be read or changed, how often and how much may be asked for.")
    audit: Literal["full", "async"] | None = Field(
        default=None, description="`full`: the record is durable before the request is forwarded.")
    record: bool = Field(
        default=False, strict=True, description="Record the sessions of those whom the rule speaks of, from begin to end.")
    record_raw: bool = Field(
        default=False, strict=True, description="Record as well what goes to the backend and comes from it: before masks.")

"""One CEL condition: compiled once, checked for names that do not exist, and evaluated.

CEL comes from `common-expression-language` (the Rust `cel` crate): no loops but over given lists,
no side effects, and `matches` is Rust's `regex`, which is linear in its input (no look-around, no
back-references), so no pattern can be made to hang the gateway.

CEL finds a misspelt name only when it evaluates it, and `has(op.verbb)` never. A misspelt name in a
`deny` would open a gate, so names, functions, verbs and patterns are checked here, before a rule is
in force. What the check needs is simple on purpose: ``op.name`` or ``op["name"]``, never a bare ``op``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import cel

from lockgate.errors import ConfigError
from lockgate.govern.policy import names
from lockgate.govern.policy.tokens import Token, comparisons, conjuncts, text, tokens_of

MAX_LENGTH = 4096
"""Characters of one condition; the parser recurses over what it reads."""

EVALUATION_ERRORS = (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError)
"""What evaluation raises on purpose. Anything else ends in the pipeline's stage wrapper."""

_MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
_SPELT = {"=": "==", "and": "&&", "or": "||", "not": "!", "AND": "&&", "OR": "||", "NOT": "!"}
_OPERATOR = re.compile(r"[^A-Za-z0-9]|@")
_PRESENCE = re.compile(r"\bhas\s*\(")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What conditions may speak of: fact names and verbs of every protocol in use.

    None means unknown: those names are then not checked.
    """

    facts: Collection[str] | None = None
    verbs: Collection[str] | None = None
    qualified: Mapping[str, str] = field(default_factory=dict)
    """Facts that are lists of dotted names, with an example of one."""


class Condition:
    """A compiled condition. `uses` are the dotted names that it reads (``op.verb``)."""

    __slots__ = ("_conjuncts", "_names", "_program", "asks_presence", "facts", "needs_verb", "source", "uses")

    def __init__(
        self, source: str, program: cel.Program, uses: frozenset[str], conjuncts: tuple[Condition, ...] = (),
    ) -> None:
        """`conjuncts`: parts of which each has to hold, where there are several."""
        self.source = source
        self._conjuncts = conjuncts
        self.uses = uses
        self._program = program
        self._names = tuple(tuple(use.split(".", 1)) for use in sorted(uses))
        self.needs_verb = "op.verb" in uses or "op.verbs" in uses
        self.facts = frozenset(name for root, name in self._names if root == "op")
        self.asks_presence = _PRESENCE.search(source) is not None

    def holds(self, context: Mapping[str, Mapping[str, object]]) -> bool | None:
        """True or False, or None where it cannot be told (it raised, or gave something else)."""
        # Only what it reads is handed over: converting values costs more than evaluating them.
        given: dict[str, dict[str, object]] = {}
        for root, name in self._names:
            values = given.setdefault(root, {})
            if name in context[root]:
                values[name] = context[root][name]
        try:
            value = self._program.execute(given)
        except EVALUATION_ERRORS:
            return None
        return value if isinstance(value, bool) else None

    def fails_without(self, context: Mapping[str, Mapping[str, object]], lacks: frozenset[str]) -> bool:
        """Whether it does not hold whatever the facts in `lacks` are: a part that reads none of them is false (CEL:
        `false && e` is false for any `e`, also one that cannot be told).
        """
        return any(lacks.isdisjoint(part.facts) and part.holds(context) is False for part in self._conjuncts)

    def untold(self, context: Mapping[str, Mapping[str, object]]) -> frozenset[str]:
        """The operation's facts that are asked about where it cannot be told; empty where it can."""
        if self.holds(context) is not None:
            return frozenset()
        parts = [part for part in self._conjuncts if part.holds(context) is None] or [self]
        return frozenset[str]().union(*(part.facts for part in parts)) - {"verb", "verbs"}

    def reads(self, root: str) -> bool:
        """Whether it reads anything of `root` (``op``, ``time``, …)."""
        return any(name.startswith(root + ".") for name in self.uses)

    @property
    def is_cacheable(self) -> bool:
        """Whether the operation's key, the identity and the connection alone decide it."""
        if self.reads("time") or self.reads("session"):
            return False
        return not any("op." + name in self.uses for name in names.UNCACHED_OPERATION)


_ANYTHING = Vocabulary()


def compile_condition(source: str, vocabulary: Vocabulary = _ANYTHING) -> Condition:
    """The condition, or `ConfigError` with what to write instead (without file and line)."""
    if len(source) > MAX_LENGTH:
        raise ConfigError(f"the condition is longer than {MAX_LENGTH} characters; split the rule")
    tokens = tokens_of(source)
    try:
        program = cel.compile(source)
    except EVALUATION_ERRORS as error:
        raise ConfigError(f"the condition is not valid CEL: {_meant(tokens) or _brief(error)}") from None
    bound = _bound_names(tokens)
    _require_known_variables(program, bound)
    _require_known_functions(program)
    uses = _names_used(tokens, bound)
    _require_known_names(uses, vocabulary)
    _require_comparable(tokens, vocabulary)
    _require_literal_patterns(tokens)
    _require_boolean(program, uses)
    pieces = conjuncts(source)
    return Condition(source, program, uses, tuple(
        Condition(piece, cel.compile(piece), _names_used(tokens_of(piece), bound)) for piece in pieces if len(pieces) > 1))


def problem(source: str, vocabulary: Vocabulary = _ANYTHING) -> str | None:
    """What is wrong with a condition, or None; for `config.load`, which knows the line."""
    try:
        compile_condition(source, vocabulary)
    except ConfigError as error:
        return str(error)
    return None


# ---------------------------------------------------------------- checks


def _bound_names(tokens: list[Token]) -> frozenset[str]:
    """The variables of `all`, `exists`, `map` … (``list.exists(x, …)``)."""
    bound = set()
    for at in range(len(tokens) - 4):
        dot, macro, bracket, name, comma = (token.text for token in tokens[at:at + 5])
        if dot == "." and macro in _MACROS and bracket == "(" and comma == ",":
            if name in names.ROOTS:
                raise ConfigError(f"`{name}` is a name of the gateway's; call {macro}()'s variable otherwise")
            bound.add(name)
    return frozenset(bound)


def _require_known_variables(program: cel.Program, bound: frozenset[str]) -> None:
    for variable in program.variables():
        if variable not in names.ROOTS and variable not in bound and not variable.startswith("@"):
            raise ConfigError(f"unknown name `{variable}`; {_closest(variable, names.ROOTS)}")


def _require_known_functions(program: cel.Program) -> None:
    for function in program.functions():
        if not _OPERATOR.search(function) and function not in names.FUNCTIONS:
            raise ConfigError(f"unknown function `{function}`; {_closest(function, names.FUNCTIONS)}")


def _names_used(tokens: list[Token], bound: frozenset[str]) -> frozenset[str]:
    """Every ``root.name`` and ``root["name"]``; a root used otherwise is refused."""
    uses = set()
    for at, token in enumerate(tokens):
        if token.kind != "name" or token.text not in names.ROOTS or text(tokens, at - 1) == ".":
            continue
        after, name, end = text(tokens, at + 1), text(tokens, at + 2), text(tokens, at + 3)
        if after == "." and end != "(" and name.isidentifier():
            uses.add(f"{token.text}.{name}")
        elif after == "[" and end == "]" and name[:1] in "\"'" and name[1:-1].isidentifier():
            uses.add(f"{token.text}.{name[1:-1]}")
        else:
            example = "connection.name" if token.text == "connection" else f"{token.text}.<name>"
            raise ConfigError(f"`{token.text}` is not a value of its own; write {example}")
    if bound & {use.split(".")[0] for use in uses}:
        raise ConfigError("a variable hides a name of the gateway's")
    return frozenset(uses)


def _require_known_names(uses: frozenset[str], vocabulary: Vocabulary) -> None:
    for use in sorted(uses):
        root, name = use.split(".", 1)
        known = set(names.ROOTS[root])
        if root == "op":
            if vocabulary.facts is None:
                continue
            known |= set(vocabulary.facts)
        if name not in known:
            raise ConfigError(f"unknown name `{use}`; {_closest(name, known, root + '.')}")


def _require_comparable(tokens: list[Token], vocabulary: Vocabulary) -> None:
    """A comparison that no request can satisfy would never match: a misspelt verb, a list and a text, a relation
    without its schema."""
    for found in comparisons(tokens):
        example = vocabulary.qualified.get(found.fact)
        if found.is_whole and found.fact in ("verbs", *vocabulary.qualified):
            word = found.literal if example is None else _qualified(found.literal, example)
            one = f'`op.verb == "{word}"` or ' if example is None else ""
            raise ConfigError(f'`op.{found.fact}` is a list; write {one}`"{word}" in op.{found.fact}`')
        if found.fact in ("verb", "verbs") and vocabulary.verbs is not None and found.literal not in vocabulary.verbs:
            raise ConfigError(f'unknown verb "{found.literal}"; {_closest(found.literal, vocabulary.verbs)}')
        if example is not None and found.literal.count(".") < example.count("."):
            raise ConfigError(f'`op.{found.fact}` holds names like {example}, and "{found.literal}" is never one; '
                              f"write `{_qualified(found.literal, example)}`")


def _qualified(name: str, example: str) -> str:
    """A name with what it lacks in front, from an example of a whole one."""
    missing = example.count(".") - name.count(".")
    return ".".join((*example.split(".")[:max(missing, 0)], name))


def _require_literal_patterns(tokens: list[Token]) -> None:
    """Patterns are written out, so that a wrong one is found now and not at the first request."""
    for at, token in enumerate(tokens):
        if token.text != "matches" or token.kind != "name" or text(tokens, at + 1) != "(":
            continue
        pattern = tokens[at + 2] if at + 2 < len(tokens) else token
        if pattern.kind != "string" or text(tokens, at + 3) != ")":
            raise ConfigError('matches() takes one pattern in quotes: op.text.matches("^select ")')
        try:
            cel.evaluate(f'"".matches({pattern.text})')
        except EVALUATION_ERRORS as error:
            raise ConfigError(f"the pattern of matches() is not valid: {_brief(error)}") from None


def _require_boolean(program: cel.Program, uses: frozenset[str]) -> None:
    """A try on sample values, where all that it reads is known: it must be true or false."""
    samples: dict[str, dict[str, object]] = {
        "op": {"verb": "x", "verbs": ["x"], "kind": "x", "protocol": "x", "text": "x", "parameters": ["x"]},
        "identity": {"issuer": "x", "subject": "x", "provider": "x", "groups": ["x"], "client_id": "x",
                     "agent": "x", "model": "x"},
        "connection": {"name": "x"},
        "session": {"id": "x", "statements": 1, "rows": 1, "started": 1, "connection": "x", "peer": "x"},
        "time": {"hour": 1, "minute": 1, "weekday": 1, "iso": "2026-01-01T00:00:00Z", "local_hour": 1,
                 "local_minute": 1, "local_weekday": 1, "local_date": "2026-01-01"},
    }
    if any(name not in samples[root] for root, name in (use.split(".", 1) for use in uses)):
        return
    try:
        value = program.execute(samples)
    except EVALUATION_ERRORS as error:
        if isinstance(error, LookupError):      # an index that the sample's short lists lack
            return
        raise ConfigError(f"the condition cannot be evaluated: {_brief(error)}") from None
    if not isinstance(value, bool):
        raise ConfigError(f"the condition gives a {type(value).__name__}; it must be true or false")


def _closest(name: str, known: Collection[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    if near:
        return f"write `{prefix}{near[0]}`"
    return "known are " + ", ".join(f"`{prefix}{item}`" for item in sorted(known))


def _meant(tokens: list[Token]) -> str:
    """What other languages write and CEL does not, with CEL's own; "" where nothing of it is there."""
    return next((f"write `{_SPELT[token.text]}` instead of `{token.text}`" for token in tokens if token.text in _SPELT), "")


def _brief(error: BaseException) -> str:
    """The first telling line of the library's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = next((line for line in lines if line.startswith("error:")), "")
    where = r"^Failed to parse expression .*?: ERROR: <input>:\d+:"
    first = re.sub(where, "at column ", lines[0]) if lines else ""
    return (last or first or type(error).__name__)[:200]

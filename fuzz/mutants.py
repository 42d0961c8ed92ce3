"""`make fuzz ARGS="mutants"`: is every line of the verifier needed to tell good evidence from bad?

Small mistakes are put into `audit/evidence`, one at a time: comparisons and conditions turned round, boundaries moved
by one, `and` for `or`, constants changed, raises, returns, calls and assignments left out. Each mutant judges the
honest packages and the attacks of `tests/unit/audit/tampering`, and a list of calls of the small parts. It is killed
where anything that it says differs (verdict, findings with check and entries, counts, checks), where it raises, or
where it does not end. What survives is printed with its place: a case is missing, or the code is not needed, or the
mutant is no mistake.

Only the statement that holds the mistake is compiled again, and only cases that reach its function are run.
"""

from __future__ import annotations
import __future__

import ast
import contextlib
import copy
import io
import random
import re
import signal
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lockgate.audit.packaging.standalone import evidence_sources, standalone
from tests.unit.audit.tampering.corpus import Judged, corpus
from tests.unit.audit.tampering.ordinary import PARTS
from tests.unit.audit.tampering.parts import Part

_PATIENCE: Final = 2.0      # seconds of the processor that a mutant may take for one case
_MODULE: Final = "lockgate_mutant"
_TOP = re.compile(r"^# =+\n# (\w+)\n", re.MULTILINE)
_WORD = re.compile(r"[\w.-]+", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]+")

_RESOURCES = re.compile(r"LIMIT|SHOWN|NAMED|_CHUNK$|CHUNK_SIZE|SMALL|LACKING|REASON_LENGTH")
"""Constants that say how much is read at once or named at most: no verdict depends on them."""
_FOR_PEOPLE: Final = frozenset({"metavar", "help", "description", "epilog", "errors"})

_COMPARED: Final = {
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}
_REACHED: Final = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.Pow: ast.Mult,
}


@dataclass
class Mutant:
    """One mistake: where it is, how it reads, and how to make and undo it in the statement `top`. `lines` are those of
    the innermost statement around it, without the statements inside of that.
    """

    module: str
    line: int
    lines: range
    said: str
    top: ast.stmt
    is_run: bool
    swap: Callable[[], Callable[[], None]]

    def __str__(self) -> str:
        return f"{self.module}.py:{self.line}: {self.said}"


@dataclass
class Result:
    """What became of them."""

    killed: int = 0
    survivors: list[Mutant] | None = None
    by_module: dict[str, list[int]] | None = None

    @property
    def total(self) -> int:
        return self.killed + len(self.survivors or ())

    @property
    def share(self) -> float:
        return self.killed / self.total if self.total else 0.0


# ---------------------------------------------------------------- making mutants


def mutants() -> list[Mutant]:
    """All of them, in the order of the sources."""
    found = []
    for module, source in evidence_sources().items():
        for top in ast.parse(source).body:
            if isinstance(top, (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)) and not _is_resource(top):
                found += list(_Finder(module, top).all())
    return found


class _Finder:
    """The mutants of one statement of a module."""

    def __init__(self, module: str, top: ast.stmt) -> None:
        self.module = module
        self.top = top
        self.depth = 0
        self.lines = self.body = range(top.lineno, top.lineno + 1)

    def all(self) -> Iterator[Mutant]:
        yield from self._visit(self.top)

    def _visit(self, node: ast.AST) -> Iterator[Mutant]:
        outer = self.lines
        if isinstance(node, ast.stmt):
            self.lines = _lines(node)
        elif isinstance(node, ast.arguments):       # a default is seen by whatever enters the function
            self.lines = self.body
        is_named = isinstance(node, ast.FunctionDef)
        self.depth += is_named
        if is_named:
            self.body = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "cause", "ctx", "type_comment"):
                continue
            if isinstance(value, list):
                for at, item in enumerate(value):
                    if isinstance(item, ast.AST) and not _is_docstring(node, name, at):
                        yield from self._at(item, value, at)
            elif isinstance(value, ast.AST):
                yield from self._at(value, node, name)
        self.depth -= is_named
        self.lines = outer

    def _at(self, node: ast.AST, holder: Any, place: Any) -> Iterator[Mutant]:
        if _is_slots(node) or isinstance(node, ast.JoinedStr) or (     # what is in a message is for people
                isinstance(node, ast.keyword) and node.arg in _FOR_PEOPLE):
            return
        for said, other in _mistakes(node):
            yield Mutant(self.module, getattr(node, "lineno", self.lines.start),
                         _lines(node) if isinstance(node, ast.stmt) else self.lines, said, self.top,
                         self.depth > 0 and not isinstance(node, ast.FunctionDef), _swap(holder, place, other))
        yield from self._visit(node)


def _lines(node: ast.stmt) -> range:
    body = getattr(node, "body", None)
    end = body[0].lineno if body else (node.end_lineno or node.lineno) + 1
    return range(node.lineno, max(end, node.lineno + 1))


def _swap(holder: Any, place: Any, other: ast.AST) -> Callable[[], Callable[[], None]]:
    def swap() -> Callable[[], None]:
        old = holder[place] if isinstance(holder, list) else getattr(holder, place)
        _put(holder, place, ast.copy_location(ast.fix_missing_locations(ast.copy_location(other, old)), old))
        return lambda: _put(holder, place, old)
    return swap


def _put(holder: Any, place: Any, node: ast.AST) -> None:
    if isinstance(holder, list):
        holder[place] = node
    else:
        setattr(holder, place, node)


def _is_docstring(node: ast.AST, name: str, at: int) -> bool:
    body = getattr(node, "body", None)
    if name != "body" or not isinstance(body, list):
        return False
    item = body[at]
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


def _is_resource(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(one, ast.Name) and _RESOURCES.search(one.id) for one in targets)


def _is_slots(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == "__slots__" for one in node.targets)


def _mistakes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """How a node may be wrong, in words, and the node that it then is."""
    for other in (*_operators(node), *_conditions(node), *_constants(node), *_left_out(node)):
        text = ast.unparse(node).split("\n")[0][:70]
        yield f"{text}  ->  {ast.unparse(ast.fix_missing_locations(other)).split(chr(10))[0][:70]}", other


def _operators(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for at, operator in enumerate(node.ops):
            for kind in _COMPARED.get(type(operator), ()):
                other = copy.deepcopy(node)
                other.ops[at] = kind()
                yield other
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        if len(node.values) == 2:
            yield from node.values
    elif isinstance(node, ast.BinOp) and type(node.op) in _REACHED and not _is_text(node):
        yield ast.BinOp(node.left, _REACHED[type(node.op)](), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in _REACHED:
        yield ast.AugAssign(node.target, _REACHED[type(node.op)](), node.value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Constant) and isinstance(part.value, str))
               for part in (node.left, node.right))


def _conditions(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(node.test, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
        other = copy.copy(node)
        other.test = ast.UnaryOp(ast.Not(), node.test)
        yield other
    if isinstance(node, ast.comprehension) and node.ifs:
        other = copy.copy(node)
        other.ifs = []
        yield other


def _constants(node: ast.AST) -> Iterator[ast.AST]:
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
        yield ast.Constant(value - 1)
    elif isinstance(value, bytes) and value:
        yield ast.Constant(bytes([value[0] ^ 1]) + value[1:])
    elif isinstance(value, str) and _WORD.fullmatch(value) and value != "replace":
        yield ast.Constant(value + "x")


def _left_out(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.Raise, ast.Continue, ast.Break, ast.AugAssign)) or (isinstance(node, ast.Expr) and isinstance(node.value, (ast.Call, ast.YieldFrom, ast.Yield))):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))


# ---------------------------------------------------------------- running them


def _verified(public: bytes, message: bytes, signature: bytes) -> bool:
    """Plain Python is what `PARTS` look at; packages would take long with it."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _compiled(top: ast.stmt, module: str) -> types.CodeType:
    return compile(ast.Module([top], []), f"{module}.py", "exec", dont_inherit=True, flags=__future__.annotations.compiler_flag)


def _places() -> dict[int, tuple[str, int]]:
    """Lines of the one file as lines of its modules."""
    text, found = standalone(), {}
    lines, sources = text.split("\n"), evidence_sources()
    heads = [(text.count("\n", 0, one.start()), one.group(1)) for one in _TOP.finditer(text)]
    for (start, name), (end, _) in zip(heads, [*heads[1:], (len(lines), "")], strict=True):
        source = sources[name].split("\n")
        body = ast.parse(sources[name]).body
        first = next(node for node in body if not isinstance(node, (ast.Import, ast.ImportFrom, ast.Expr, ast.If)))
        line = min(first.lineno, *[one.lineno for one in getattr(first, "decorator_list", ())] or [first.lineno])
        shift = lines.index(source[line - 1], start) + 1 - line
        found.update({at: (name, at - shift) for at in range(start, end + 1)})
    return found


def _watch(seen: set[int]) -> Callable[..., Any]:
    """A tracer that keeps the lines of the verifier that are run."""
    def local(frame: types.FrameType, *_: object) -> Any:
        seen.add(frame.f_lineno)
        return local

    def start(frame: types.FrameType, *_: object) -> Any:
        return local if frame.f_code.co_filename == "verify.py" else None

    return start


class TooLong(BaseException):
    """A mutant does not end."""


class Program:
    """The verifier as one program whose statements can be exchanged, and what it says when it is whole."""

    def __init__(self, judged: list[Judged], parts: list[Part]) -> None:
        self.module = types.ModuleType(_MODULE)
        sys.modules[_MODULE] = self.module
        self.space = self.module.__dict__
        exec(compile(standalone(), "verify.py", "exec", dont_inherit=True), self.space)
        self.space["use_ed25519"](_verified)
        self.later = {name: [(top.lineno, _compiled(top, name)) for top in ast.parse(source).body
                             if isinstance(top, (ast.Assign, ast.AnnAssign))]
                      for name, source in evidence_sources().items()}
        packages = [one for one in judged if one.package]
        self.cases: list[Callable[[], object]] = [self._judge(one) for one in packages]
        self.cases += [self._part(one) for one in parts]
        self.names = [one.name for one in packages] + [one.name for one in parts]
        self.expected: list[object] = []
        self.costs: list[float] = []
        self.reached: dict[tuple[str, int], list[int]] = {}
        places = _places()
        for number, case in enumerate(self.cases):
            self.expected.append(case())
            seen = set[int]()
            for value in self.space.values():       # what is remembered is not run again
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
            sys.settrace(_watch(seen))
            try:
                again = case()
            finally:
                sys.settrace(None)
            if again != self.expected[-1]:
                raise RuntimeError(f"{self.names[number]} has no definite answer")
            start = time.process_time()     # what is made once is there by now
            case()
            self.costs.append(time.process_time() - start)
            for line in seen:
                self.reached.setdefault(places[line], []).append(number)

    def _judge(self, judged: Judged) -> Callable[[], object]:
        def case() -> object:
            report = self.space["verify_package"](io.BytesIO(judged.package), self.space["Pins"](*judged.pins), "package")
            return _essence(self.space["report_json"](report))
        return case

    def _part(self, part: Part) -> Callable[[], object]:
        def case() -> object:
            try:
                return part.call(self.space)
            except self.space["EvidenceError"] as error:
                return error.check, error.verdict, error.index
            except (ValueError, SystemExit) as error:
                return type(error).__name__
        return case

    def kills(self, mutant: Mutant) -> bool:
        """Whether any case notices."""
        undo = mutant.swap()
        try:
            code = _compiled(mutant.top, mutant.module)
        except (SyntaxError, ValueError):
            return True
        finally:
            undo()
        before = dict(self.space)
        try:
            try:
                exec(code, self.space)
                self._rebind(before)
                for line, later in self.later[mutant.module]:
                    if line > mutant.top.lineno:        # what was made of it
                        exec(later, self.space)
                self.space["use_ed25519"](_verified)
            except Exception:
                return True
            return any(self._notices(number) for number in self._candidates(mutant))
        finally:
            self.space.clear()
            self.space.update(before)

    def _rebind(self, before: dict[str, Any]) -> None:
        """Other names of what was exchanged follow it."""
        for name, old in before.items():
            new = self.space.get(name)
            if new is not old and callable(old):
                for other, value in before.items():
                    if value is old:
                        self.space[other] = new

    def _candidates(self, mutant: Mutant) -> list[int]:
        found = {number for line in mutant.lines for number in self.reached.get((mutant.module, line), ())}
        if not mutant.is_run:       # a constant, or a class: anything may depend on it
            found = set(range(len(self.cases)))
        return sorted(found, key=lambda number: (self.costs[number] > 0.01, number))

    def _notices(self, number: int) -> bool:
        signal.setitimer(signal.ITIMER_PROF, _PATIENCE)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                return bool(self.cases[number]() != self.expected[number])
        except TooLong:
            return True
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return True
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def _essence(report: dict[str, Any]) -> object:
    """What a report says, without its words: but for the numbers in what a check covered, of which none may be wrong."""
    findings = [(one["check"], one["number"], one["verdict"], one["index"], one["last"]) for one in report["findings"]]
    checks = [(one["number"], one["name"], one["status"], _NUMBER.findall(one["detail"]) if one["status"] == "ok" else [])
              for one in report["checks"]]
    rest = {name: value for name, value in report.items() if name not in ("findings", "checks", "notes")}
    return findings, checks, rest, len(report["notes"])


def whole() -> Program:
    """The verifier without a mistake, with all cases."""
    return Program(corpus(), PARTS)


def run(sample: int | None = None, seed: int = 0, seconds: float | None = None, program: Program | None = None) -> Result:
    """Try all mutants, or so many of them by chance, or as many as fit into the time. `program`: `whole()`, if there is one
    already."""
    def stop(*_: object) -> None:
        raise TooLong

    chosen = mutants()
    if sample is not None or seconds is not None:
        random.Random(seed).shuffle(chosen)
        chosen = chosen[:sample]
    program = program or whole()
    sys.modules[_MODULE] = program.module
    handler = signal.signal(signal.SIGPROF, stop)
    result = Result(0, [], {})
    end = None if seconds is None else time.monotonic() + seconds
    try:
        for mutant in chosen:
            if end is not None and time.monotonic() > end:
                break
            killed = program.kills(mutant)
            result.killed += killed
            counts = result.by_module.setdefault(mutant.module, [0, 0])      # type: ignore[union-attr]
            counts[0] += killed
            counts[1] += 1
            if not killed:
                result.survivors.append(mutant)     # type: ignore[union-attr]
    finally:
        signal.signal(signal.SIGPROF, handler)
        sys.modules.pop(_MODULE, None)
    return result


def main(sample: int | None, seed: int) -> int:
    """The whole run. Returns the exit code."""
    result = run(sample, seed)
    for module, (killed, total) in sorted((result.by_module or {}).items()):
        print(f"mutants, {module:12s} {killed:5d} of {total:5d} killed", flush=True)
    for survivor in result.survivors or ():
        print(f"  survived: {survivor}")
    repeated = Counter(survivor.module for survivor in result.survivors or ())
    print(f"mutants: {result.killed} of {result.total} killed, {result.share:.1%}; most survivors in "
          f"{', '.join(name for name, _ in repeated.most_common(3))}")
    return int(result.share < 0.9)

"""The stand-alone verifier: the modules of `audit.evidence`, one after the other in one file.

Deterministic, so that an auditor can make the file from the sources and compare: modules in the order
in which they need each other, imports of each other and for types only left out, the standard library's once at the top.
Module docstrings become comments. A name that two modules have would silently be overwritten, so that
is refused.
"""

from __future__ import annotations

import ast
from functools import cache
from graphlib import TopologicalSorter
from importlib import resources
from typing import Final

PACKAGE: Final = "lockgate.audit.evidence"
_HEADER: Final = '''#!/usr/bin/env python3
"""Verifies an evidence package of a Lockgate gateway: thirteen checks, offline.

    python3 -I verify.py evidence.tar --root root.vkey

Python 3.8 or newer, nothing else. Written by `lockgate audit export` from the sources of the gateway's
own verifier (src/lockgate/audit/evidence); use a copy that you trust, not the one that came along.
"""

'''
_FOOTER: Final = '''

if __name__ == "__main__":
    sys.exit(main())
'''


def evidence_sources() -> dict[str, str]:
    """The modules by name, without the package's own docstring."""
    folder = resources.files(PACKAGE)
    return {
        item.name.removesuffix(".py"): item.read_text(encoding="utf-8")
        for item in sorted(folder.iterdir(), key=lambda item: item.name)
        if item.name.endswith(".py") and item.name != "__init__.py"
    }


@cache
def standalone() -> str:
    """The text of `verify.py`. Raises ValueError where the sources do not fit into one file."""
    return amalgamated(evidence_sources())


def amalgamated(sources: dict[str, str]) -> str:
    """The same of any sources."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    needs = {name: _needed(tree) for name, tree in trees.items()}
    order = [name for name in TopologicalSorter({name: sorted(needs[name]) for name in sorted(needs)}).static_order()
             if name in sources]
    imports: set[str] = set()
    owners: dict[str, str] = {}
    bodies = []
    for name in order:
        for defined in _defined(trees[name]):
            if owners.setdefault(defined, name) != name:
                raise ValueError(f"{owners[defined]} and {name} both define {defined}")
        bodies.append(_body(name, sources[name], trees[name], imports))
    plain = sorted(line for line in imports if line.startswith("import "))
    named = sorted(line for line in imports if not line.startswith("import "))
    top = "\n".join(["from __future__ import annotations", "", *plain, *named])
    return _HEADER + top + "\n" + "".join(bodies) + _FOOTER


def _needed(tree: ast.Module) -> set[str]:
    """The modules of the folder that one imports from."""
    return {node.module.rpartition(".")[2] for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{PACKAGE}.")}


def _defined(tree: ast.Module) -> set[str]:
    """Names at the top of a module that are its own."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id for target in targets for part in ast.walk(target)
                      if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    return found


def _is_renaming(node: ast.stmt) -> bool:
    """Whether another module, or one of the folder, gets another name; a function of the library may have one."""
    if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("lockgate"):
        return False
    return isinstance(node, (ast.Import, ast.ImportFrom)) and any(part.asname for part in node.names)


def _is_for_types(node: ast.stmt) -> bool:
    """Whether it is ``if TYPE_CHECKING:``: annotations are not evaluated."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _body(name: str, source: str, tree: ast.Module, imports: set[str]) -> str:
    """A module without its docstring and imports; the latter are added to `imports`."""
    lines = source.splitlines()
    left_out: set[int] = set()
    for node in tree.body:
        if _is_renaming(node):
            raise ValueError(f"{name} renames what it imports")
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
            if not node.module.startswith("lockgate"):
                imports |= {f"from {node.module} import {ast.unparse(part)}" for part in node.names}
            elif not node.module.startswith(f"{PACKAGE}."):
                raise ValueError(f"{name} imports {node.module}")
        elif isinstance(node, ast.Import):
            imports |= {ast.unparse(node)}
        elif _is_for_types(node):
            pass
        elif node is not tree.body[0] and not isinstance(node, ast.ImportFrom):
            continue
        left_out.update(range(node.lineno - 1, node.end_lineno or node.lineno))
    docstring = ast.get_docstring(tree) or ""
    comment = "\n".join(f"# {line}".rstrip() for line in docstring.splitlines())
    kept = "\n".join(line for number, line in enumerate(lines) if number not in left_out)
    rule = "# " + "=" * 100
    return f"\n\n{rule}\n# {name}\n#\n{comment}\n{rule}\n\n{kept.strip()}\n"

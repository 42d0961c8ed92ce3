"""What a GraphQL request may do, and how it names what it asks for (GraphQL, October 2021, section 2; GraphQL over HTTP).

Every operation that is written counts, whichever one `operationName` picks, and so does every place that some server reads
a document from: the query parameter besides the content, all of a batch, a form. What cannot be read has an unknown effect,
and is refused where a rule depends on it: a persisted query shows its digest only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from json import JSONDecodeError, JSONDecoder
from typing import Final

from graphql import GraphQLError, parse
from graphql.language import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionSetNode,
)

from lockgate.govern.masking.bodies import Renamed

LONGEST: Final = 65_536
"""Characters of all documents of a request."""
TOKENS: Final = 4_000
DEEPEST: Final = 64
DOCUMENTS: Final = 16
_DEFERRING: Final = frozenset(("defer", "stream"))
_ABORTED: Final = "Parsing aborted"
"""What the parser says where there are too many tokens."""
_BEGINS: Final = re.compile(r"(?:[\s,\ufeff]|#[^\n\r]*)*+(?:\{|(?:query|mutation|subscription|fragment)\b)")
_JSON: Final = re.compile(r"[{\[]")
_QUIET: Final = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\.)*"|#[^\n\r]*', re.DOTALL)
"""Strings and comments, in which brackets are none."""
_OPENING: Final = frozenset("{[(")
_CLOSING: Final = frozenset("}])")


class BadDocument(ValueError):
    """A request whose effect cannot be told. Says why, without anything of it."""


class Unbounded(BadDocument):
    """What may well be read elsewhere, and is too much to be read here."""


def operations_of(written: Mapping[str, list[str]], content: object) -> list[dict[str, object]]:
    """What the documents of a request do: `type` (query, mutation, subscription), `name` ("" for none) and `fields` (names of top-level fields, fragments
    followed, without aliases) of every operation. `written`: query parameters or a form, by name; `content`: JSON, or the
    text of a document, None for none. `BadDocument` for what cannot be read."""
    return [operation for document in _read(written, content) for operation in _operations(document)]


def renamed_by(written: Mapping[str, list[str]], content: object) -> Renamed:
    """The names that the answer has in the place of fields' own (aliases), each with every field that it may stand for.
    `BadDocument` as `operations_of`, and where the answer would come in pieces that no names are around."""
    found: dict[str, set[str]] = {}
    for document in _read(written, content):
        todo: list[Node] = [document]
        while todo:
            node = todo.pop()
            if isinstance(node, DirectiveNode) and node.name.value in _DEFERRING:
                raise Unbounded("its answer would come in pieces, which cannot be masked by name")
            if isinstance(node, FieldNode) and node.alias is not None:
                found.setdefault(node.alias.value.casefold(), set()).add(node.name.value)
            for key in node.keys:
                below = getattr(node, key, None)
                todo.extend(one for one in (below if isinstance(below, (list, tuple)) else (below,)) if isinstance(one, Node))
    return tuple(sorted((name, tuple(sorted(fields))) for name, fields in found.items()))


def renamed_in(documents: Iterable[str]) -> Renamed:
    """The same of texts that may be documents. `BadDocument` for what looks like one, and is too much to be read."""
    found: dict[str, set[str]] = {}
    likely = {document for document in documents if _BEGINS.match(document) is not None}
    if len(likely) > DOCUMENTS:
        raise Unbounded(f"it holds more than {DOCUMENTS} GraphQL documents")
    for document in likely:
        try:
            for name, meant in renamed_by({"query": [document]}, None):
                found.setdefault(name, set()).update(meant)
        except Unbounded:
            raise
        except BadDocument:
            continue                        # a backend cannot read it either
    return tuple(sorted((name, tuple(sorted(meant))) for name, meant in found.items()))


def queries_in(text: str) -> list[str]:
    """Every text under a name like `query` in the JSON of a text, which may stand behind words; of a name that is there twice
    all. `BadDocument` for a persisted query, which shows its digest only, and for what is nested too deep."""
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        for name, value in pairs:
            if name.lower() == "query" and isinstance(value, str):
                found.append(value)
            elif name.lower() == "persistedquery":
                raise Unbounded("it is a persisted query")
        return {}

    start = _JSON.search(text)
    if start is not None:
        try:
            JSONDecoder(object_pairs_hook=look).raw_decode(text, start.start())
        except RecursionError:
            raise Unbounded("its JSON is nested too deep") from None
        except JSONDecodeError:
            pass                            # nobody else reads it either
    return found


def _read(written: Mapping[str, list[str]], content: object) -> list[DocumentNode]:
    documents = [*written.get("query", ()), *_documents(content)]
    if not documents:
        raise BadDocument("it holds no GraphQL document")
    if len(documents) > DOCUMENTS or sum(map(len, documents)) > LONGEST:
        raise Unbounded(f"its GraphQL documents are more than {DOCUMENTS} or longer than {LONGEST} characters")
    return [_parsed(document) for document in documents]


def _documents(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif content is not None:
        for request in content if isinstance(content, list) else [content]:
            if not isinstance(request, dict) or [name for name in request if name.lower() == "query"] != ["query"]:
                raise BadDocument("its JSON is not one with a `query`, or a list of such")      # some readers ignore case
            document = request["query"]
            if not isinstance(document, str):
                raise BadDocument("its `query` is no text")
            yield document


def _parsed(document: str) -> DocumentNode:
    if _depth(document) > DEEPEST:
        raise Unbounded(f"its GraphQL is nested deeper than {DEEPEST}")
    try:
        return parse(document, no_location=True, max_tokens=TOKENS)
    except (GraphQLError, RecursionError) as error:
        kind = BadDocument if isinstance(error, GraphQLError) and _ABORTED not in error.message else Unbounded
        raise kind(f"its GraphQL cannot be read, or has more than {TOKENS} tokens") from None


def _depth(document: str) -> int:
    deepest = depth = 0
    for letter in _QUIET.sub("", document):
        if letter in _OPENING:
            depth += 1
            deepest = max(deepest, depth)
        elif letter in _CLOSING:
            depth -= 1
    return deepest


def _operations(document: DocumentNode) -> Iterator[dict[str, object]]:
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    found = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    if not found or len(found) + len(fragments) != len(document.definitions):
        raise BadDocument("its GraphQL holds no operation, a fragment twice, or definitions of types")
    for operation in found:
        yield {
            "type": operation.operation.value, "name": "" if operation.name is None else operation.name.value,
            "fields": sorted(_fields(operation.selection_set, fragments)),
        }


def _fields(selection: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> set[str]:
    """Names of the fields of one level, through fragments; each of them is followed once."""
    found: set[str] = set()
    followed: set[str] = set()
    todo = [selection]
    while todo:
        for one in todo.pop().selections:
            if isinstance(one, FieldNode):
                found.add(one.name.value)
            elif isinstance(one, FragmentSpreadNode):
                name = one.name.value
                if name not in fragments:
                    raise BadDocument("its GraphQL names a fragment that it does not hold")
                if name not in followed:
                    followed.add(name)
                    todo.append(fragments[name].selection_set)
            elif isinstance(one, InlineFragmentNode):
                todo.append(one.selection_set)
    return found

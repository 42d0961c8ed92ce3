"""From a request to the `Operation` that policy, reviewer and record see.

What is known from the head alone is judged first; facts of the content are found out only where a rule hangs on one
(`Operation.lacks`), because that means holding the content back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from lockgate.govern.masking.bodies import Renamed, decoding
from lockgate.model import Operation, Refusal
from lockgate.protocols.http.callers import NEVER_ON
from lockgate.protocols.http.documents import is_deeper, read_document
from lockgate.protocols.http.graphql import BadDocument, operations_of, queries_in, renamed_by, renamed_in
from lockgate.protocols.http.messages import RequestHead
from lockgate.protocols.http.parts import BadParts, parts_of
from lockgate.protocols.http.results import codings_of, media_type
from lockgate.protocols.http.targets import BadTarget, Target, parameters

FACTS: Final[Mapping[str, str]] = {
    "method": "the method, as it is written: GET, POST",
    "host": "the host that the client asked for, in lower case, without port",
    "path": "the decoded path, without a slash at its end: /customers/42",
    "segments": "the parts of the path: [customers, 42]",
    "template": "the template of `paths` or of the OpenAPI document that fits the path (/customers/{id}); empty where none does",
    "operation": "the OpenAPI document's operationId, or the method and template of one without (GET /customers/{id}); empty "
                 "for what the document does not list, and where there is none",
    "query": "query parameters by name, each a list of values: \"1\" in op.query.page",
    "headers": "header fields by lower-case name, each a list of values; without credentials and cookies",
    "content_type": "the media type of the content, in lower case, without parameters; empty without content",
    "size": "bytes of the content, 0 without; of content without a length that is not known beforehand",
    "json": "the content as JSON, where its type says so",
    "form": "fields of application/x-www-form-urlencoded content by name, each a list of values",
    "graphql": "GraphQL operations on a path of `graphql`, each with type (query, mutation, subscription), name and fields "
               "(names at the top): op.graphql.exists(o, o.type == \"mutation\"); empty elsewhere",
    "websocket": "whether the request opens a WebSocket, or is a message over one",
    "message": "the text of a message over a WebSocket, empty elsewhere; missing where its bytes are no text",
    "parts": "parts of multipart/form-data content in order, each with name, filename and type (\"\" where none is "
             "given); empty for other content",
}
CONTENT_FACTS: Final = frozenset(("json", "form"))
_GRAPHQL: Final = frozenset(("graphql",))
_PARTS: Final = frozenset(("parts",))
_LATER: Final = frozenset(("headers",))
"""Facts that would make every request another one to the cache of decisions, and that few rules read."""
TUNNEL: Final = "connect"
"""The verb of a blind tunnel, which has no method of its own kind."""
SEND: Final = "send"
"""The verb of a message that a client sends over a WebSocket; its method is the same in capitals."""
METHODS: Final = frozenset((
    "get", "head", "post", "put", "patch", "delete", "options", "query", "propfind", "proppatch", "mkcol", "copy", "move",
    "lock", "unlock", "report", "search", "link", "unlink", "purge",
))
"""As verbs. Others are refused: nobody knows what they do. TRACE, because its answer is the request with its credential."""
_NAMED: Final = re.compile(r"query|\\u", re.IGNORECASE)
"""What content that holds a member `query` has in it."""
DEEPEST: Final = 64
"""Containers around a value of JSON that a rule depends on."""
_LONGEST_TEXT: Final = 65_536
_READ_BY: Final = (b"content-type", b"content-encoding")
_PLAIN: Final = frozenset((b"utf-8", b"utf8", b"us-ascii", b"ascii"))
"""Charsets in which what is read as UTF-8 is the same text."""
_TEXTUAL: Final = ("application/json", "application/x-www-form-urlencoded", "application/xml", "application/graphql",
                   "application/x-ndjson")
_CODED: Final = "the content is in a coding, or in other characters than UTF-8, and a rule depends on it"
_HIDDEN: Final = NEVER_ON | {b"cookie", b"x-api-key", b"x-csrf-token"}


ONE_JSON: Final = "Send one JSON document, with no name twice in an object."
ONE_GRAPHQL: Final = "Send the whole GraphQL document in `query`, as JSON, and not a digest of it."
T = TypeVar("T")


class BadContent(ValueError):
    """Content that is not what its type says, and that a rule depends on; `advice` is how to send it instead."""

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.advice = advice

    def hint(self, what: str) -> str:
        """For a refusal: that this (`what`) did not go on, and the advice."""
        return f"{what} was {'not ' * (what != 'Nothing')}forwarded. {self.advice}".rstrip()


@dataclass(frozen=True, slots=True)
class Request:
    """A request's head with what has been made of it."""

    head: RequestHead
    host: str
    target: Target
    template: str
    media_type: str
    is_graphql: bool = False                # the path is one on which the backend speaks it
    operation: str = ""
    unlisted: Refusal | None = None         # where the document does not list it, and nothing else passes
    is_websocket: bool = False              # it asks for one

    @property
    def method(self) -> str:
        """As it is written."""
        return self.head.method.decode("ascii")

    def line(self) -> str:
        """Method and target, as a reviewer reads them."""
        query = self.target.raw_query
        return f"{self.method} {self.target.raw_path.decode('ascii')}" + (f"?{query.decode('ascii')}" if query is not None else "")


def media_type_of(head: RequestHead) -> str:
    """The content's type without parameters, "" where none is given."""
    return (head.get(b"content-type") or b"").partition(b";")[0].strip().lower().decode("latin-1")


def head_operation(request: Request, *, has_content: bool) -> Operation:
    """The request as its head shows it. Facts of the content are lacking where it has some."""
    head = request.head
    facts: dict[str, object] = {
        "method": request.method, "host": request.host, "path": request.target.path,
        "segments": list(request.target.segments), "template": request.template,
        "operation": request.operation,
        "query": request.target.query, "content_type": request.media_type, "size": head.length,
        "websocket": request.is_websocket, "message": "",
    }
    lacks = _LATER | CONTENT_FACTS if has_content else _LATER
    if request.is_graphql:
        lacks |= _GRAPHQL
    else:
        facts["graphql"] = []
    if has_content and request.media_type == "multipart/form-data":
        lacks |= _PARTS
    else:
        facts["parts"] = []
    line = request.line()
    return Operation(
        protocol="http", kind="request", verbs=frozenset((request.method.lower(),)), text=line,
        key=("head", request.host, line, request.media_type, head.length, has_content, request.is_graphql,
             request.is_websocket), facts=facts,
        # Without the path where no template is known: a path may name a person, and what is touched stands in the log for ever.
        objects=(f"{request.host}{request.template}",),
        lacks=lacks,
    )


def with_content(request: Request, operation: Operation, content: bytes) -> Operation:
    """The same request with its content, as reviewers and records see it: its text, or its digest. A ticket is bound to what
    says how the content is read: as a form, JSON is other fields."""
    digest = hashlib.sha256(content).hexdigest()
    head = request.head
    shown = shown_content(request.media_type, content, digest, is_plain=_is_plain(head))
    return replace(
        operation, text=f"{operation.text}\n\n{shown}",
        key=("content", operation.key, digest), facts={**operation.facts, "size": len(content)},
        reading="\n".join(value.decode("latin-1") for name in _READ_BY for value in (name, *head.all(name))),
    )


def _is_plain(head: RequestHead) -> bool:
    """Whether content is in UTF-8 and no coding, which is how it is read here. A backend that heeds another charset reads other
    JSON in the same bytes: in UTF-7 `+ACI-` is a quotation mark."""
    if codings_of(head.fields):
        return False
    try:
        charset = media_type(b", ".join(head.all(b"content-type")))[1].get(b"charset", b"utf-8")
    except ValueError:
        return False
    return charset.lower() in _PLAIN


def with_facts(request: Request, operation: Operation, content: bytes, wanted: frozenset[str]) -> Operation:
    """The same request with every fact that was left out. `BadContent` where one cannot be read; GraphQL and parts have
    to be readable where they are `wanted` only."""
    facts = dict(operation.facts)
    for name in operation.lacks & CONTENT_FACTS:
        value = _READERS[name](request.media_type, content)
        if value is not None and not _is_plain(request.head):
            raise BadContent(_CODED)
        if value is not None:
            facts[name] = value
    if wanted >= _PARTS:
        try:
            facts["parts"] = parts_of(request.head.get(b"content-type") or b"", content)
        except BadParts as error:
            raise BadContent(f"the content's parts cannot be read, and a rule depends on them: {error}",
                             "Send multipart/form-data with `boundary` as its only parameter and plain quoted names.") from None
    if wanted >= _GRAPHQL:
        facts["graphql"] = [] if _shows_no_document(request) else _documents(operations_of, request, content)
    headers = headers_of(request.head)
    facts["headers"] = headers
    named = tuple(sorted((name, *values) for name, values in headers.items()))
    return replace(operation, key=("facts", operation.key, named), facts=facts, lacks=operation.lacks & (_GRAPHQL | _PARTS) - wanted)


def shown_content(media_type: str, content: bytes, digest: str, *, is_plain: bool = True) -> str:
    """Content as people read it: text up to 64 KiB, else what it is, its size and SHA-256. `is_plain`: nobody reads other
    characters in it."""
    if is_plain and len(content) <= _LONGEST_TEXT and (media_type.startswith("text/") or media_type in _TEXTUAL
                                          or media_type.endswith(("+json", "+xml"))):
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return f"[{media_type or 'content'} of {len(content)} bytes, SHA-256 {digest}]"


def headers_of(head: RequestHead) -> dict[str, list[str]]:
    """The fields that conditions see."""
    found: dict[str, list[str]] = {}
    for field in head.fields:
        if field.name not in _HIDDEN:
            found.setdefault(field.name.decode("ascii"), []).append(field.value.decode("latin-1"))
    return found


def _json(media_type: str, content: bytes) -> object:
    if not (media_type == "application/json" or media_type.endswith("+json")):
        return None
    try:
        text = content.decode("utf-8")
        value = read_document(text)
    except (ValueError, RecursionError):
        raise BadContent("the content is no JSON of one reading, and a rule depends on it", ONE_JSON) from None
    if is_deeper(value, text, DEEPEST):
        raise BadContent(f"the content's JSON is nested deeper than {DEEPEST}, and a rule depends on it")
    return value


def _form(media_type: str, content: bytes) -> object:
    if media_type != "application/x-www-form-urlencoded":
        return None
    try:
        return parameters(content)
    except BadTarget as error:
        raise BadContent(f"the content is no form that can be read: {error}") from None


def renamed_fields(request: Request, content: bytes) -> Renamed:
    """Names in the answer that stand for others because the request says so, where it may be one of GraphQL.

    On a path of `graphql` everything is, and `BadContent` is raised for what cannot be read. Elsewhere every text is a document
    that stands where some server reads one from, whatever the content's type says, and that can be read as one: a backend that
    nobody has named so is not to be a way around masks either.
    """
    if request.is_graphql:
        return () if _shows_no_document(request) else _documents(renamed_by, request, content)
    try:
        return renamed_in(_texts(request, content))
    except BadDocument as error:
        raise BadContent(f"it may be GraphQL, and masks go by names: {error}; name the path in `graphql`", ONE_GRAPHQL) from None


def _texts(request: Request, content: bytes) -> list[str]:
    """What some server may read as a document of GraphQL."""
    found = [*request.target.query.get("query", ())]
    for extensions in request.target.query.get("extensions", ()):
        queries_in(extensions)
    if not content:
        return found
    try:
        text = _plain(request.head, content)
    except (ValueError, LookupError):       # it is not what it says, or in a coding that nobody knows
        return found
    if request.media_type == "application/graphql":
        return [*found, text]
    if _NAMED.search(text) is None:
        return found
    if request.media_type == "application/x-www-form-urlencoded":
        try:
            return found + parameters(text.encode()).get("query", [])
        except BadTarget:
            return found
    pieces = [part.partition("\r\n\r\n")[2] for part in text.split("\r\n--")] if request.media_type.startswith("multipart/") else [text]
    return found + [query for piece in pieces for query in queries_in(piece)]


def _plain(head: RequestHead, content: bytes) -> str:
    """Content without its codings, as text."""
    codings = codings_of(head.fields)
    if codings and content:
        decoder = decoding(codings)
        content = decoder.feed(content) + decoder.finish()
    charset = media_type(b", ".join(head.all(b"content-type")))[1].get(b"charset", b"utf-8")
    return content.decode(charset.decode("ascii"))


def _shows_no_document(request: Request) -> bool:
    """Whether it opens a WebSocket, whose messages are read one by one, and no more."""
    return request.is_websocket and "query" not in request.target.query


def _documents(read: Callable[[Mapping[str, list[str]], object], T], request: Request, content: bytes) -> T:
    """What `read` makes of every place that some server reads a GraphQL document from."""
    written, kind = request.target.query, request.media_type
    try:
        if not content:
            return read(written, None)
        if not _is_plain(request.head):
            raise BadContent(_CODED)
        if kind == "application/graphql":
            return read(written, content.decode("utf-8"))
        if kind == "application/x-www-form-urlencoded":
            form = parameters(content)
            return read({"query": [*written.get("query", ()), *form.get("query", ())]}, None)
        value = _json(kind, content)
        if value is None:
            raise BadDocument("its content is of no type that GraphQL is read from")
        return read(written, value)
    except (BadDocument, BadTarget, UnicodeDecodeError) as error:
        why = "its text is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadContent(f"what the request does cannot be told, and a rule depends on it: {why}", ONE_GRAPHQL) from None


_READERS: Final[Mapping[str, Callable[[str, bytes], object]]] = {"json": _json, "form": _form}

"""GraphQL requests are judged by every operation that a server could find in them."""

from __future__ import annotations

import gzip
import json

import pytest

from lockgate.config.settings import Connection
from lockgate.model import ColumnMask, DetectMask, MaskMethod, Rule
from lockgate.protocols.http.graphql import DEEPEST, DOCUMENTS, LONGEST, TOKENS, BadDocument, operations_of
from lockgate.wire.playbook import CLIENT, SERVER, Bytes
from tests.protocols.http import scene as s

NO_MUTATION = Rule(name="read-only", when='op.graphql.exists(o, o.type == "mutation")', deny="read only")
CRM = s.connection(graphql=["/graphql"])


def asked(content: bytes | None = None, *, target: str = "/graphql", media_type: str = "application/json",
          method: str = "POST", rules: tuple[Rule, ...] = (s.ALLOW, NO_MUTATION)) -> int:
    """The status of one request to a backend that answers 200."""
    book = s.World(rules=rules, connections=(CRM,)).book()
    book >> Bytes(CLIENT, s.request(method, target, content, Content_Type=media_type))
    if book.sent(SERVER):
        book >> Bytes(SERVER, s.answer())
    else:
        assert s.problem(book)["code"] in ("denied", "not_understood")
    return s.status(book)


def body(query: object, **more: object) -> bytes:
    return json.dumps({"query": query, **more}).encode()


def test_a_mutation_is_found_wherever_it_stands() -> None:
    """Behind another operation that `operationName` picks, in a batch, in the URL beside the content, in a form."""
    both = "query a { x } mutation b { y }"
    assert asked(body("{ x }")) == 200
    assert asked(body(both, operationName="a")) == 403
    assert asked(json.dumps([{"query": "{ x }"}, {"query": "mutation { y }"}]).encode()) == 403
    assert asked(body("{ x }"), target="/graphql?query=mutation{y}") == 403
    assert asked(method="GET", target="/graphql?query=%7Bx%7D") == 200
    assert asked(method="GET", target="/graphql?query=mutation%7By%7D") == 403
    assert asked(b"query=mutation%7By%7D", media_type="application/x-www-form-urlencoded") == 403
    assert asked(b"mutation { y }", media_type="application/graphql") == 403
    assert asked(body("mutation { y }"), target="/GraphQL/") == 403


@pytest.mark.parametrize("content", [
    body("{ x"), body(None), b"{}", b'{"query":"{x}","Query":"mutation{y}"}', b'{"query":"{x}","query":"mutation{y}"}', b"[1]",
    body("type A { b: Int }"), body("{ ...F }"), body("fragment F on A { x }"), b"",
    json.dumps({"extensions": {"persistedQuery": {"sha256Hash": "0" * 64}}}).encode(),
], ids=lambda content: content[:24].decode())
def test_an_effect_that_cannot_be_told_is_refused_where_a_rule_depends_on_it(content: bytes) -> None:
    """400, and nothing goes on; where no rule asks, it is the backend's to answer."""
    assert asked(content) == 400
    assert asked(content, rules=(s.ALLOW,)) == 200


def test_other_types_of_content_are_refused_on_these_paths_only() -> None:
    """Elsewhere there is no GraphQL, which a rule sees as an empty list."""
    assert asked(b"mutation { y }", media_type="text/plain") == 400
    assert asked(b"mutation { y }", media_type="text/plain", target="/other") == 200
    assert asked(body("mutation { y }"), target="/other") == 200


def test_fields_are_those_at_the_top_through_fragments_and_aliases() -> None:
    """What is nested is none, and a fragment that names itself ends."""
    document = """mutation Pay($n: Int) { a: pay(sum: $n) { id } ...F ... on Mutation { refund } }
    fragment F on Mutation { void ...G } fragment G on Mutation { ...F close } query { me(note: "mutation { x }") # }
    }"""
    assert operations_of({}, document) == [
        {"type": "mutation", "name": "Pay", "fields": ["close", "pay", "refund", "void"]},
        {"type": "query", "name": "", "fields": ["me"]},
    ]


@pytest.mark.parametrize("content", [
    "{ x" * (DEEPEST + 1) + "}" * (DEEPEST + 1), "{ a" + " a" * TOKENS + " }", "{ a }" + " " * LONGEST,
    [{"query": "{ a }"}] * (DOCUMENTS + 1),
], ids=["deep", "tokens", "long", "many"])
def test_documents_are_bounded(content: object) -> None:
    """Depth, tokens, length and number."""
    with pytest.raises(BadDocument):
        operations_of({}, content)


def test_brackets_in_strings_are_no_depth() -> None:
    """Nor are those in comments and block strings."""
    many = "{" * (DEEPEST + 1)
    found = operations_of({}, f'{{ a(b: "{many}", c: """{many} "q" \\""" """) #{many}\n }}')
    assert found == [{"type": "query", "name": "", "fields": ["a"]}]


# --- masks --------------------------------------------------------------------------------------

HIDE = Rule(name="hide", masks=(ColumnMask(("person.ssn",), MaskMethod.REDACT),))
PLAIN = s.connection()
VALUE = "219-09-9999"


def shown(query: str | bytes, answer: object, *, connection: Connection = CRM, media_type: str = "application/json",
          target: str = "/graphql", rule: Rule = HIDE, **fields: str) -> str:
    """What the client gets to see of the backend's answer; "" where the request was refused instead."""
    content = body(query) if isinstance(query, str) else query
    book = s.World(rules=(s.ALLOW, rule), connections=(connection,)).book()
    book >> Bytes(CLIENT, s.request("POST", target, content, Content_Type=media_type, **fields))
    if not book.sent(SERVER):
        assert s.problem(book)["code"] == "not_understood"
        assert s.problem(book)["hint"].startswith("Nothing was forwarded. Send ")
        return ""
    book >> Bytes(SERVER, s.answer(json.dumps(answer).encode()))
    return book.sent(CLIENT).partition(b"\r\n\r\n")[2].decode()


@pytest.mark.parametrize("connection", [CRM, PLAIN], ids=["named", "not named"])
@pytest.mark.parametrize(("query", "answer"), [
    ("{ person { x: ssn } }", {"data": {"person": {"x": VALUE}}}),
    ("{ p: person { ssn } }", {"data": {"p": {"ssn": VALUE}}}),
    ("{ p: person { X: ssn y: name } }", {"data": {"p": {"X": VALUE, "y": "ann"}}}),
    ("{ person { ...F } } fragment F on P { x: ssn }", {"data": {"person": {"x": VALUE}}}),
    ("{ person { ... on P { name: ssn } } }", {"data": {"person": {"name": VALUE}}}),
    ("{ name: person { id: ssn } }", {"data": {"name": {"id": VALUE}}}),
    ("query a { b { c } } query d { person { c: ssn } }", {"data": {"person": {"c": VALUE}}}),
])
def test_an_alias_defeats_no_mask(connection: Connection, query: str, answer: object) -> None:
    """Whatever name the request gives to a field, it is hidden under it, and what else stands there is not lost."""
    assert VALUE in shown("{ person { name } }", answer if "ssn" not in json.dumps(answer) else {"x": VALUE})
    got = shown(query, answer, connection=connection)
    assert got
    assert VALUE not in got
    assert got.replace('"xxxx"', f'"{VALUE}"') == json.dumps(answer)


def test_paths_and_patterns_follow_aliases_too() -> None:
    """JSON paths and regular expressions name fields as the schema does."""
    for mask in (ColumnMask((), MaskMethod.REDACT, paths=("$.data.person.ssn",)), ColumnMask((), MaskMethod.REDACT, names=("^ssn$",))):
        rule = Rule(name="hide", masks=(mask,))
        assert VALUE not in shown("{ p: person { x: ssn } }", {"data": {"p": {"x": VALUE}}}, rule=rule)
        assert VALUE in shown("{ p: person { x: name } }", {"data": {"p": {"x": VALUE}}}, rule=rule)


def test_aliases_are_found_wherever_a_document_stands() -> None:
    """In the URL, in a batch, in a form, in its own type, in compressed content, under a name with escapes."""
    query, answer = "{ person { x: ssn } }", [{"data": {"person": {"x": VALUE}}}]
    form = b"query=" + query.replace(" ", "%20").encode()
    for content, more in (
        (json.dumps([{"query": "{ a }"}, {"query": query}]).encode(), {}),
        (form, {"media_type": "application/x-www-form-urlencoded"}),
        (query.encode(), {"media_type": "application/graphql"}),
        (body("{ a }"), {"target": "/graphql?query=" + query.replace(" ", "%20")}),
        (body(query).replace(b"query", b"\\u0071uery"), {}),
    ):
        for connection in (CRM, PLAIN):
            got = shown(content, answer, connection=connection, **more)
            assert got
            assert VALUE not in got
    padded = body(query, pad="x" * 70_000)
    assert VALUE not in (got := shown(padded, answer))
    assert got
    assert VALUE not in shown(gzip.compress(body(query)), answer, connection=PLAIN, Content_Encoding="gzip")


@pytest.mark.parametrize("content", [
    json.dumps({"extensions": {"persistedQuery": {"sha256Hash": "0" * 64}}}).encode(), body("{ person { x: ssn }"),
    body("{ person { ... @defer { ssn } } }"), body("{ person @stream { ssn } }"), b'{"query":"{a}","query":"{b}"}',
], ids=["persisted", "broken", "deferred", "streamed", "twice"])
def test_what_names_its_answer_unseen_is_refused_under_masks(content: bytes) -> None:
    """Where masks go by name, a request on these paths has to show the names that its answer will have."""
    assert shown(content, {"x": VALUE}) == ""
    only_detectors = Rule(name="find", detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))
    assert shown(content, {"x": VALUE}, rule=only_detectors) == json.dumps({"x": VALUE})


ALIASED = body("{ person { x: ssn } }")
PARTS = b"--b\r\nContent-Disposition: form-data; name=operations\r\n\r\n%b\r\n--b--\r\n" % ALIASED


@pytest.mark.parametrize(("content", "media_type"), [
    (ALIASED, "text/plain"), (ALIASED, ""), (ALIASED.replace(b"query", b"Query"), "application/json"),
    (b'{"query":"{a}",' + ALIASED[1:], "application/json"), (ALIASED[:-1] + b',"query":"{a}"}', "application/json"),
    (b"[%b,{}]" % ALIASED, "application/json"), (b'{"operation":%b}' % ALIASED, "application/json"),
    (PARTS, "multipart/form-data; boundary=b"), (ALIASED, "application/json; charset=utf-8"),
], ids=["text", "untyped", "capital", "last of two", "first of two", "batch", "within", "parts", "utf-8"])
def test_a_document_that_some_server_reads_is_no_way_around_masks(content: bytes, media_type: str) -> None:
    """Nobody has said that GraphQL is spoken here, and backends differ in where they find a document."""
    got = shown(content, {"data": {"person": {"x": VALUE}}}, connection=PLAIN, media_type=media_type)
    assert '"x"' in got
    assert VALUE not in got


@pytest.mark.parametrize("content", [
    body("#" + "x" * 65_536 + "\n{ person { x: ssn } }", ), body("{ person { x: ssn " + "a " * 4_000 + "} }"),
    body("query" + "{ a " * 65 + "x: ssn" + "}" * 65), body("{ person { ... @defer { ssn } } }"),
    ALIASED[:-1] + b',"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    json.dumps({"extensions": {"persistedQuery": {"sha256Hash": "0" * 64}}}).encode(),
    json.dumps([{"query": f"{{ a{number} }}"} for number in range(17)]).encode(),
], ids=["long", "tokens", "deep", "deferred", "deep JSON", "persisted", "many"])
def test_a_document_that_is_too_much_to_be_read_is_refused_anywhere(content: bytes) -> None:
    """What is read by the backend and not here has names that nobody knows."""
    assert shown(content, {"x": VALUE}, connection=PLAIN) == ""


def test_a_persisted_query_in_the_url_is_refused_anywhere() -> None:
    """As one in the content."""
    world = s.World(rules=(s.ALLOW, HIDE), connections=(PLAIN,))
    book = world.book() >> Bytes(CLIENT, s.request("GET", "/graphql?extensions=%7B%22persistedQuery%22:%7B%7D%7D"))
    assert not book.sent(SERVER)


def test_other_requests_with_a_query_go_on() -> None:
    """On a path that nobody has named, a member `query` may be anything else."""
    assert shown("ssn:[* TO *] AND {", {"hits": 1}, connection=PLAIN, target="/search") == '{"hits": 1}'
    many = json.dumps([{"query": f"name:{number} " + "x" * 3_000} for number in range(20)]).encode()
    assert shown(many, {"hits": 1}, connection=PLAIN, target="/search") == '{"hits": 1}'

"""Masks on answers and looks at requests, at the bytes: what is hidden, in every form and split, and what is refused."""

from __future__ import annotations

import gzip
import re
import zlib

import brotli
import pytest
import zstandard

from lockgate.govern.masking.keys import MASTER_BYTES, MaskKeys
from lockgate.model import (
    ColumnMask,
    DetectMask,
    KeyScope,
    MaskMethod,
    OutcomeStatus,
    RequestAction,
    RequestCheck,
    Rule,
    Secret,
)
from lockgate.wire.conformance import Case, require_fail_closed, require_no_canary, require_split_independence
from lockgate.wire.playbook import CLIENT, SERVER, Bytes, Hangup, Playbook
from tests.protocols.http import scene as s
from tests.protocols.http.test_conformance import meaning

CANARY = b"219-09-9999"
CARD = b"4111111111111111"
HIDE = Rule(name="hide", masks=(ColumnMask(("*.ssn",), MaskMethod.REDACT),),
            detects=(DetectMask(("credit_card",), MaskMethod.REDACT),))
CODED = {
    "gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def make() -> Playbook:
    return s.World(rules=(s.ALLOW, HIDE)).book()


def chunked(content: bytes, **fields: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}".encode() for name, value in fields.items()]
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", *lines, b"", b"%x" % len(content), content,
                         b"0", b"", b""])


JSON = b'{"id":1,"who":{"ssn":"' + CANARY + b'"},"note":"card ' + CARD + b' ok","many":[{"SSN":' + b"21909999" + b"}]}"
CASES = [
    Case(make, [Bytes(CLIENT, s.request()), Bytes(SERVER, s.answer(JSON))], CANARY, meaning(b"GET")),
    Case(make, [Bytes(CLIENT, s.request()), Bytes(SERVER, s.answer(JSON, X_Card=CARD.decode()))], CARD, meaning(b"GET")),
    Case(make, [Bytes(CLIENT, s.request()), Bytes(SERVER, chunked((JSON + b"\n") * 20, Content_Type="application/x-ndjson"))], CANARY,
         meaning(b"GET")),
    Case(make, [Bytes(CLIENT, s.request()), Bytes(SERVER, b"HTTP/1.1 500 " + CARD + b"\r\nContent-Type: text/html\r\n\r\n"
                                                           b"<p>" + CARD + b"</p>"), Hangup(SERVER)], CARD, meaning(b"GET")),
    Case(make, [Bytes(CLIENT, s.request()), Bytes(SERVER, s.answer(b"a=1&ssn=219-09-9999", media_type="application/x-www-form-urlencoded"))],
         CANARY, meaning(b"GET")),
]
NAMES = ["json", "headers", "lines", "error page", "form"]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_canary_stays_here_in_every_split(case: Case) -> None:
    """No split of the backend's bytes lets a protected value through, and none changes what is shown."""
    require_no_canary(case)
    require_split_independence(case)
    require_fail_closed(case)


@pytest.mark.parametrize("coding", CODED)
def test_compressed_answers_are_looked_into(coding: str) -> None:
    """Undone, masked, and done again: the client gets the coding that it asked for."""
    book = make() >> Bytes(CLIENT, s.request(Accept_Encoding="gzip, deflate, br, zstd, sdch"))
    assert b"sdch" not in book.sent(SERVER)
    book >> Bytes(SERVER, s.answer(CODED[coding](JSON), Content_Encoding=coding))
    head, _, content = book.sent(CLIENT).partition(b"\r\n\r\n")
    assert f"Content-Encoding: {coding}".encode() in head
    plain = {"gzip": gzip.decompress, "deflate": zlib.decompress, "br": brotli.decompress,
             "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)}[coding](content)
    assert CANARY not in plain
    assert plain.startswith(b'{"id":1,"who":{"ssn":"xxxx"}')


@pytest.mark.parametrize(("answer", "words"), [
    (s.answer(b"ssn " + CANARY), "not what its type says"),
    (s.answer(b'{"ssn":"' + CANARY), "not what its type says"),
    (s.answer(CANARY, media_type="image/png"), "binary"),
    (s.answer(CANARY, media_type="application/octet-stream"), "binary"),
    (s.answer(gzip.compress(JSON)[:-9], Content_Encoding="gzip"), "not what its type says"),
    (s.answer(JSON, Content_Encoding="sdch"), "not what its type says"),
    (s.answer(JSON, 206, Content_Range="bytes 0-9/10"), "part of a document"),
], ids=["no json", "half of json", "image", "unknown", "cut", "unknown coding", "partial"])
def test_what_cannot_be_looked_into_does_not_pass(answer: bytes, words: str) -> None:
    """A 502 that says why, and an outcome that says that the result was stopped."""
    world = s.World(rules=(s.ALLOW, HIDE))
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, answer)
    assert s.status(book) == 502
    assert words in s.problem(book)["detail"]
    assert CANARY not in book.sent(CLIENT)
    assert [outcome.status for outcome in world.log.outcomes] == [OutcomeStatus.REFUSED]


def test_an_answer_without_content_needs_no_type() -> None:
    """Of a length of nothing: a redirect, a resource that was made. There is nothing to look into."""
    kinds = (b"", b"Content-Type: application/json\r\n", b"Content-Type: image/png\r\nContent-Encoding: gzip\r\n")
    for status, kind in ((status, kind) for status in (200, 201, 302) for kind in kinds):
        book = make() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, b"HTTP/1.1 %d x\r\n%bContent-Length: 0\r\n\r\n" % (status, kind))
        assert s.status(book) == status, kind
        assert b"Content-Length: 0\r\n" in book.sent(CLIENT)


def test_a_stream_that_turns_out_to_be_something_else_is_cut() -> None:
    """What has gone out was masked; nothing of the rest follows, and no end that would make it look whole."""
    book = make() >> Bytes(CLIENT, s.request())
    sent = chunked(b'{"a":1}' + b"\n" + CANARY, Content_Type="application/x-ndjson")
    at = sent.index(CANARY)
    for piece in (sent[:at], sent[at:]):
        book >> Bytes(SERVER, piece)
    assert b'{"a":1}' in book.sent(CLIENT)
    assert book.is_closed
    assert CANARY not in book.sent(CLIENT)
    assert not book.sent(CLIENT).endswith(b"0\r\n\r\n")


def test_parts_of_documents_are_not_asked_for_where_masks_are_due() -> None:
    """Nor are answers given with digests of what they are not."""
    book = make() >> Bytes(CLIENT, s.request(Range="bytes=0-9", If_Range='"x"'))
    assert b"Range" not in book.sent(SERVER)
    book >> Bytes(SERVER, s.answer(JSON, Content_MD5="abc", Accept_Ranges="bytes", X_Amz_Checksum_SHA256="x", X_Goog_Hash="md5=x",
                                   X_Hashtag="kept"))
    assert b"Content-MD5" not in book.sent(CLIENT)
    assert b"X-Hashtag: kept" in book.sent(CLIENT)
    for gone in (b"hecksum", b"Hash:"):
        assert gone not in book.sent(CLIENT)
    plain = s.World().book() >> Bytes(CLIENT, s.request(Range="bytes=0-9"))
    assert b"Range: bytes=0-9" in plain.sent(SERVER)


def test_head_shows_no_length_of_what_is_masked() -> None:
    """The length of the unmasked content would tell something about it."""
    book = make() >> Bytes(CLIENT, s.request("HEAD")) >> Bytes(SERVER, s.answer(b"")[:-2].replace(b": 0", b": 71") + b"\r\n")
    assert b"Content-Length" not in book.sent(CLIENT)


@pytest.mark.parametrize(("action", "status", "sent"), [
    (RequestAction.BLOCK, 403, b""), (RequestAction.MASK, None, b'{"card":"xxxx"}'),
    (RequestAction.RECORD, None, b'{"card":"' + CARD + b'"}'),
], ids=["block", "mask", "record"])
def test_what_a_client_sends_is_looked_at(action: RequestAction, status: int | None, sent: bytes) -> None:
    """Content, query and headers; a find is refused, replaced or recorded, as policy asks."""
    rule = Rule(name="cards", requests=(RequestCheck(("credit_card",), action),))
    for content in (b'{"card":"' + CARD + b'"}',):
        world = s.World(rules=(s.ALLOW, rule))
        book = world.book() >> Bytes(CLIENT, s.request(
            "POST", "/pay?card=" + CARD.decode(), content, Content_Type="application/json", X_Card=CARD.decode()))
        if status is not None:
            assert s.status(book) == status
            assert not book.sent(SERVER)
            continue
        assert book.sent(SERVER).endswith(b"\r\n\r\n" + sent)
        assert (CARD in book.sent(SERVER)) is (action is RequestAction.RECORD)
        book >> Bytes(SERVER, s.answer())
        assert world.log.outcomes[0].masked["sent: credit_card"] == 3


def test_a_mask_is_not_stored_in_the_place_of_data() -> None:
    """Whoever writes back what was shown is told to leave the field out."""
    book = make() >> Bytes(CLIENT, s.request("PUT", "/customers/1", b'{"ssn":"xxxx"}', Content_Type="application/json"))
    assert s.status(book) == 403
    assert "mask" in s.problem(book)["detail"]
    assert not book.sent(SERVER)


def test_a_token_comes_back_as_its_value() -> None:
    """What the agent was shown instead of a value stands for it in its next request, where the mask returns."""
    token = ColumnMask(("*.ssn",), MaskMethod.TOKEN, label="ssn", scope=KeyScope.CONNECTION, returns=True)
    world = s.World(rules=(s.ALLOW, Rule(name="tokens", masks=(token,))), keys=MaskKeys(Secret("5a" * MASTER_BYTES)))
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(b'{"ssn":"' + CANARY + b'"}'))
    shown = book.sent(CLIENT).rpartition(b":")[2].strip(b'"}')
    assert shown.startswith(b"tok_")
    book >> Bytes(CLIENT, s.request("POST", "/find", b'{"ssn":"' + shown + b'"}', Content_Type="application/json"))
    assert book.sent(SERVER).endswith(b'{"ssn":"' + CANARY + b'"}')
    book >> Bytes(SERVER, s.answer()) >> Bytes(CLIENT, s.request("GET", f"/find?ssn={shown.decode()}"))
    assert b"GET /find?ssn=" + CANARY in book.sent(SERVER)


def test_the_same_names_mask_as_in_a_database() -> None:
    """A glob with a relation's name means members below that name, or below that part of the path."""
    rule = Rule(name="hide", masks=(ColumnMask(("customers.email",), MaskMethod.REDACT),))
    for target, content, hidden in (
        ("/customers/1", b'{"email":"ann@x.example"}', True), ("/orders/1", b'{"email":"ann@x.example"}', False),
        ("/orders/1", b'{"customers":[{"email":"ann@x.example"}]}', True),
    ):
        book = s.World(rules=(s.ALLOW, rule)).book() >> Bytes(CLIENT, s.request("GET", target)) >> Bytes(SERVER, s.answer(content))
        assert (b"ann@" not in book.sent(CLIENT)) is hidden


# --- entity tags --------------------------------------------------------------------------------

KEYS = MaskKeys(Secret("5a" * MASTER_BYTES))


def tagged(book: Playbook, tag: str, **fields: str) -> bytes:
    """The tag that a client gets with an answer that has this one; empty for none."""
    book >> Bytes(CLIENT, s.request(**fields)) >> Bytes(SERVER, s.answer(JSON, ETag=tag))
    found = re.search(rb"(?m:^)ETag: (.*)\r\n", book.sent(CLIENT))
    return b"" if found is None else found[1]


UNKNOWN = '"lockgate-unknown"'


@pytest.mark.parametrize("tag", ['"33a64df551425fcc55e4d42a148795d9"', 'W/"7e-0815"', '""'])
def test_an_entity_tag_is_sealed_where_masks_are_due(tag: str) -> None:
    """It may be a digest of what is hidden. Equal ones stay equal, and in a condition the backend gets its own back."""
    world = s.World(rules=(s.ALLOW, HIDE), keys=KEYS)
    shown = tagged(world.book(), tag)
    assert shown.startswith(b'W/"tok_' if tag.startswith("W") else b'"tok_')
    assert tag.strip('W/"').encode() not in shown or tag == '""'
    assert tagged(world.book(), tag) == shown
    assert tagged(world.book(), '"another"') != shown
    book = world.book() >> Bytes(CLIENT, s.request("PUT", content=b"{}", If_Match=shown.decode() + ', "own"', If_None_Match="*"))
    assert f'If-Match: {tag}, {UNKNOWN}\r\n'.encode() in book.sent(SERVER)
    assert b"If-None-Match: *\r\n" in book.sent(SERVER)


@pytest.mark.parametrize(("name", "sent", "got"), [
    ("If-None-Match", '"{}"', UNKNOWN), ("If-None-Match", 'W/"{}" , "x"', f"{UNKNOWN} , {UNKNOWN}"),
    ("If-None-Match", "{}", UNKNOWN), ("If-None-Match", '"x", {}', UNKNOWN), ("If-Match", '"{}"', UNKNOWN),
    ("If", '<urn:uuid:1> ["{}"]) (Not [W/"{}"])', f"<urn:uuid:1> [{UNKNOWN}]) (Not [{UNKNOWN}])"), ("If", "([{}])", f"([{UNKNOWN}])"),
])
@pytest.mark.parametrize("keys", [KEYS, None], ids=["keys", "no keys"])
def test_a_tag_that_nobody_was_shown_fits_nothing_where_masks_are_due(name: str, sent: str, got: str, keys: MaskKeys | None) -> None:
    """Where a tag is a digest, a client could ask with the digest of its guess whether a hidden value is the guessed one."""
    digest = "33a64df551425fcc55e4d42a148795d9"
    fields = {name.replace("-", "_"): sent.format(digest, digest)}
    masked = s.World(rules=(s.ALLOW, HIDE), keys=keys).book() >> Bytes(CLIENT, s.request(**fields))
    assert f"\r\n{name}: {got}\r\n".encode() in masked.sent(SERVER)
    plain = s.World(rules=(s.ALLOW,), keys=keys).book() >> Bytes(CLIENT, s.request(**fields))
    assert f"\r\n{name}: {fields[name.replace('-', '_')]}\r\n".encode() in plain.sent(SERVER)


def test_tags_of_two_resources_cannot_be_compared() -> None:
    """Who may write could store a guess at one and look whether its tag is the other's; and a tag fits its resource only."""
    world, shown = s.World(rules=(s.ALLOW, HIDE), keys=KEYS), []
    for path in ("/customers/1", "/customers/2"):
        book = world.book() >> Bytes(CLIENT, s.request("GET", path)) >> Bytes(SERVER, s.answer(JSON, ETag='"same"'))
        found = re.search(rb"(?m:^)ETag: (.*)\r\n", book.sent(CLIENT))
        assert found is not None
        shown.append(found[1].decode())
    assert shown[0] != shown[1]
    for path, sent in (("/customers/1", '"same"'), ("/customers/2", UNKNOWN)):
        book = world.book() >> Bytes(CLIENT, s.request("PUT", path, b"{}", If_Match=shown[0]))
        assert f"If-Match: {sent}\r\n".encode() in book.sent(SERVER)


@pytest.mark.parametrize("first", ["/open/1", "/open/2", "/secret/1", "/secret/2"])
def test_the_same_fields_of_answers_are_hidden_by_what_is_due_for_each(first: str) -> None:
    """On one connection answers with the very same fields follow each other; what is hidden in them hangs on the request, and
    each one's record counts it."""
    rule = Rule(name="hide", when='op.path.startsWith("/secret")',
                masks=(ColumnMask(("x-ssn", "*.1.x-name"), MaskMethod.REDACT),))
    world = s.World(rules=(s.ALLOW, rule), keys=KEYS)
    book, paths = world.book(), [first, "/open/1", "/secret/1", "/secret/1", "/secret/2", "/open/1", "/secret/1", "/open/2"]
    tags, before = {}, 0
    for path in paths:
        book >> Bytes(CLIENT, s.request("GET", path)) >> Bytes(
            SERVER, s.answer(b"{}", ETag='"same"', X_SSN=CANARY.decode(), X_Name="Ann", Date="Thu, 26 Nov 2026 10:00:00 GMT"))
        sent, before = book.sent(CLIENT)[before:], len(book.sent(CLIENT))
        is_hidden = path.startswith("/secret")
        assert (CANARY in sent) is not is_hidden
        assert (b"X-Name: Ann\r\n" in sent) is (path != "/secret/1")
        found = re.search(rb"(?m:^)ETag: (.*)\r\n", sent)
        assert found is not None
        assert (found[1] == b'"same"') is not is_hidden
        assert tags.setdefault(path, found[1]) == found[1]
        assert sum(world.log.outcomes[-1].masked.values()) == {"/secret/1": 2, "/secret/2": 1}.get(path, 0)
    assert tags["/secret/1"] != tags["/secret/2"]


@pytest.mark.parametrize("rules", [(s.ALLOW,), (s.ALLOW, HIDE)], ids=["plain", "masked"])
def test_an_answer_has_its_own_fields(rules: tuple[Rule, ...]) -> None:
    """Not those of the one before it on the connection, however much they are alike."""
    book, before = s.World(rules=rules, keys=KEYS).book(), 0
    for turn in ("1", "1", "2", "1"):
        book >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(b"{}", X_Turn=turn, SSN=f"{turn}{CANARY.decode()}"))
        sent, before = book.sent(CLIENT)[before:], len(book.sent(CLIENT))
        assert f"X-Turn: {turn}\r\n".encode() in sent
        assert (f"SSN: {turn}{CANARY.decode()}\r\n".encode() in sent) is (HIDE not in rules)
        assert (CANARY in sent) is (HIDE not in rules)


@pytest.mark.parametrize("tag", ["unquoted", '"a" x', '"' + "a" * 1_025 + '"'])
def test_a_tag_that_cannot_be_sealed_is_left_out(tag: str) -> None:
    """So is every tag where there are no keys. What no mask is due for keeps its own."""
    assert tagged(s.World(rules=(s.ALLOW, HIDE), keys=KEYS).book(), tag) == b""
    assert tagged(s.World(rules=(s.ALLOW, HIDE)).book(), '"fine"') == b""
    assert tagged(s.World(rules=(s.ALLOW,), keys=KEYS).book(), tag) == tag.encode()


def test_a_sealed_tag_of_elsewhere_fits_nothing() -> None:
    """Another connection's is not opened, nor is one that was changed."""
    shown = tagged(s.World(rules=(s.ALLOW, HIDE), keys=KEYS).book(), '"1"').decode()
    other = s.World(rules=(s.ALLOW, HIDE), keys=MaskKeys(Secret("6b" * MASTER_BYTES)))
    changed = shown[:-2] + ("a" if shown[-2] != "a" else "b") + '"'
    for world, sent in ((other, shown), (s.World(rules=(s.ALLOW, HIDE), keys=KEYS), changed)):
        book = world.book() >> Bytes(CLIENT, s.request(If_None_Match=sent))
        assert f"If-None-Match: {UNKNOWN}\r\n".encode() in book.sent(SERVER)


@pytest.mark.parametrize("framed", ["length", "chunks"])
def test_binary_content_passes_up_to_a_size(framed: str) -> None:
    """What is known to be longer is refused before anything of it has left; what turns out to be is cut."""
    world = s.World(rules=(s.ALLOW, HIDE), connections=(s.connection(binary="allow", binary_size=300_000),))
    for size, passes in ((300_000, True), (300_001, False)):
        content = b"\x89PNG\0" + b"\0" * (size - 5)
        whole = s.answer(content, media_type="image/png") if framed == "length" else chunked(content, Content_Type="image/png")
        book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, whole[:1_000]) >> Bytes(SERVER, whole[1_000:])
        if passes:
            assert book.sent(CLIENT).count(b"\0") == size - 4
            assert not book.is_closed
        elif framed == "length":
            assert s.problem(book)["status"] == 502
            assert "larger" in s.problem(book)["detail"]
        else:
            assert not book.sent(CLIENT).endswith(b"0\r\n\r\n")
            assert book.is_closed


TEXT = s.connection(text="deny")


@pytest.mark.parametrize(("media_type", "content"), [
    ("text/plain", b"ssn 219-09-9999"), ("text/html", b"<td>ssn<td>219-09-9999"), ("application/yaml", b"ssn: 219-09-9999"),
    ("text/event-stream", b"data: ssn 219-09-9999\n\n"), ("application/toml", b"ssn = '219-09-9999'"),
    ("multipart/mixed; boundary=b", b"--b\r\nContent-Type: text/plain\r\n\r\nssn 219-09-9999\r\n--b--\r\n"),
    ("text/plain", b"ssn 219-09-9999 " * 40_000),
])
def test_text_without_names_is_refused_where_the_connection_says_so(media_type: str, content: bytes) -> None:
    """`text: deny` is for values that no detector knows: a mask by name finds nothing in running text."""
    def told(*rules: Rule, text: str) -> bytes:
        world = s.World(rules=(s.ALLOW, *rules), connections=(s.connection(text=text),))
        book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(content, media_type=media_type))
        return book.sent(CLIENT)

    refused = told(HIDE, text="deny")
    assert CANARY not in refused
    assert refused.startswith(b"HTTP/1.1 502 ")
    assert b"masks are due that go by the names of members" in refused
    assert CANARY in told(HIDE, text="allow")
    assert CANARY in told(Rule("cards", detects=HIDE.detects), text="deny")     # no name to look for


@pytest.mark.parametrize(("media_type", "content"), [
    ("application/json", b'{"ssn":"219-09-9999"}'), ("text/plain", b'{"ssn":"219-09-9999"}'), ("text/csv", b"ssn\r\n219-09-9999\r\n"),
    ("text/xml", b"<a><ssn>219-09-9999</ssn></a>"), ("text/event-stream", b': alive\ndata: {"ssn":"219-09-9999"}\n\ndata: [DONE]\n\n'),
    ("text/plain", b"\r\n"), ("text/html", b""),
])
def test_what_has_names_or_says_nothing_passes_all_the_same(media_type: str, content: bytes) -> None:
    """JSON that is called text is no text, nor is an empty page."""
    world = s.World(rules=(s.ALLOW, HIDE), connections=(TEXT,))
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, s.answer(content, media_type=media_type))
    assert (s.status(book), CANARY in book.sent(CLIENT)) == (200, False)


def test_what_clients_send_may_be_text() -> None:
    """The option is about answers: a request's content is what the client knows already."""
    check = Rule("look", requests=(RequestCheck(("credit_card",), RequestAction.RECORD),))
    world = s.World(rules=(s.ALLOW, HIDE, check), connections=(TEXT,))
    book = world.book() >> Bytes(CLIENT, s.request("POST", content=b"plain words", Content_Type="text/plain"))
    assert book.sent(SERVER).endswith(b"plain words")


def test_a_field_whose_name_holds_a_find_does_not_reach_the_client() -> None:
    """In the head and in trailers; what was found in it is on record as any find."""
    world = s.World(rules=(s.ALLOW, HIDE))
    answer = chunked(b"{}", Content_Type="application/json", X_Other="1").replace(
        b"X-Other: 1", b"X-4111111111111111: 1\r\nX-Other: 1").replace(b"0\r\n\r\n", b"0\r\nT-4111111111111111: 1\r\nT-Other: 2\r\n\r\n")
    book = world.book() >> Bytes(CLIENT, s.request()) >> Bytes(SERVER, answer)
    told = book.sent(CLIENT)
    assert s.status(book) == 200
    assert CARD not in told
    assert b"X-Other: 1" in told
    assert b"T-Other: 2" in told
    assert world.log.outcomes[0].masked["credit_card"] == 2

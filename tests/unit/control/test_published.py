"""The published log over HTTP: who may read it, what the answers say, and that nothing else is reachable."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from lockgate.control.api import create_api
from lockgate.control.ports import Published
from tests.unit.audit.tiles.published import LEAVES, Memory, expected, publisher
from tests.unit.control.test_api import DORA, FakeGateway, bearer
from tests.unit.govern.fakes import world

SOURCE = Memory(LEAVES)
FULL, PARTIAL = "/log/tile/0/001", "/log/tile/entries/002.p/188"


@pytest.fixture
def gateway(tmp_path: Path) -> FakeGateway:
    publisher(tmp_path / "tiles", SOURCE).run()
    (tmp_path / "log.key").write_text("canary")
    made = FakeGateway(world())
    made.log = Published(tmp_path / "tiles", "everyone")
    return made


@pytest.fixture
async def api(gateway: FakeGateway) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_api(gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


async def test_everything_published_is_served(api: httpx.AsyncClient) -> None:
    """Byte for byte, each under the path of C2SP tlog-tiles."""
    for path, content in expected(LEAVES).items():
        answer = await api.get(f"/log/{path}")
        assert (answer.status_code, answer.content) == (200, content), path
        assert answer.headers["content-type"] == "application/octet-stream"
    answer = await api.get("/log/checkpoint")
    assert (answer.status_code, answer.text) == (200, SOURCE.note)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_what_witnesses_cosigned_is_served_beside_the_checkpoint(
    api: httpx.AsyncClient, gateway: FakeGateway, tmp_path: Path,
) -> None:
    """Under the same rules; where there is none, there is nothing."""
    assert (await api.get("/log/cosigned")).status_code == 404
    gateway.log = Published(tmp_path, "everyone")
    (tmp_path / "cosigned").write_text("a note")
    answer = await api.get("/log/cosigned")
    assert (answer.status_code, answer.text, answer.headers["cache-control"]) == (200, "a note", "no-cache")
    gateway.log = Published(tmp_path, "reviewers")
    assert (await api.get("/log/cosigned")).status_code == 401


async def test_caches_are_told_what_never_changes(api: httpx.AsyncClient, gateway: FakeGateway) -> None:
    """Full tiles for good, partial ones for a while, the checkpoint not at all; shared caches only for everyone."""
    assert (await api.get(FULL)).headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await api.get(PARTIAL)).headers["cache-control"] == "public, max-age=3600"
    assert (await api.get("/log/checkpoint")).headers["cache-control"] == "no-cache"
    gateway.log = Published(gateway.log.folder, "reviewers")
    assert (await api.get(FULL, headers=DORA)).headers["cache-control"] == "private, max-age=31536000, immutable"


async def test_bundles_are_compressed_for_who_takes_it(api: httpx.AsyncClient) -> None:
    """Entries only: hashes do not shrink."""
    async with api.stream("GET", PARTIAL, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(raw) == expected(LEAVES)[PARTIAL.removeprefix("/log/")]
    plain = await api.get(PARTIAL, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in (await api.get(FULL)).headers


@pytest.mark.parametrize("path", [
    "../log.key", "tile/../../log.key", "tile/0/../../../log.key", "/etc/passwd", "log.key", "", "tile", "tile/", "tile/0",
    "tile/0/001.new", "tile/0/001/", "tile/00/001", "tile/0/1", "tile/0/999", "tile/64/000", "tile/0/001.p/256",
    "tile/0/000.p/12", "tile/entries/000\x00", "tile/entries/" + "x001/" * 2_000 + "000", "checkpoint/", "checkpoint.new",
])
@pytest.mark.parametrize("encoded", [False, True])
async def test_nothing_outside_the_layout_is_reachable(api: httpx.AsyncClient, path: str, encoded: bool) -> None:
    """However it is written, encoded or not: 404, or what the server makes of a path, and never a file."""
    for form in (quote(path, safe="" if encoded else "/"), path.replace("..", "%2e%2e").replace("\x00", "%00")):
        answer = await api.get(f"/log/{form}")
        assert answer.status_code in (307, 404), form
        assert "canary" not in answer.text


async def test_a_link_put_among_the_tiles_is_not_followed(api: httpx.AsyncClient, gateway: FakeGateway) -> None:
    """What is no file of the publication is refused, not read."""
    (gateway.log.folder / "tile/0/003").symlink_to(gateway.log.folder.parent / "log.key")
    answer = await api.get("/log/tile/0/003")
    assert answer.status_code == 503
    assert "canary" not in answer.text
    (gateway.log.folder / "tile/0/004").write_bytes(bytes(9_000))
    assert (await api.get("/log/tile/0/004")).status_code == 404


@pytest.mark.parametrize("path", ["/log/checkpoint", FULL, PARTIAL, "/log/tile/nonsense"])
async def test_readers_are_those_of_the_setting(api: httpx.AsyncClient, gateway: FakeGateway, path: str) -> None:
    """`reviewers` asks for their token before it says what exists, `off` has nothing for anybody."""
    gateway.log = Published(gateway.log.folder, "reviewers")
    assert (await api.get(path)).status_code == 401
    assert (await api.get(path, headers=bearer("agent.agents"))).status_code == 403
    assert (await api.get(path, headers=DORA)).status_code == (404 if "nonsense" in path else 200)
    gateway.log = Published(gateway.log.folder, "off")
    assert (await api.get(path, headers=DORA)).status_code == 404


async def test_the_log_is_read_only(api: httpx.AsyncClient) -> None:
    """No other method is known."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert (await api.request(method, FULL)).status_code == 405


async def test_before_the_first_publication_there_is_nothing(api: httpx.AsyncClient, gateway: FakeGateway) -> None:
    """404, as for a log that is not published."""
    gateway.log = Published(gateway.log.folder / "elsewhere", "everyone")
    assert (await api.get("/log/checkpoint")).status_code == 404

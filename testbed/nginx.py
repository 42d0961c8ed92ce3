"""nginx as a process, on loopback: a backend that answers everything, a proxy in front of another backend, and proxies that
add a token."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.gateway import spawn
from testbed.postgres import free_port

PROGRAM = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
"""Where it is, None where it is not installed."""
_HEAD = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr crit;
events {{ worker_connections 512; }}
http {{
    log_format lines '$server_port $status $request_method $request_uri';
    access_log {folder}/access.log lines;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 30;
"""
_CONFIG = _HEAD + """\
    server {{ listen 127.0.0.1:{direct}; location / {{ default_type application/json; return 200 '{{"ok":true}}'; }} }}
    server {{ listen 127.0.0.1:{behind}; location / {{ default_type application/json; return 200 '{{"ok":true}}'; }} }}
    server {{
        listen 127.0.0.1:{proxy};
        location / {{ proxy_pass http://127.0.0.1:{origin}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_next_upstream off; }}
    }}
}}
"""
_BEARER = """\
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{origin};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header Authorization "Bearer {token}";
        }}
    }}
"""
"""For clients that cannot send one; what they say is passed on as it comes."""


@dataclass(frozen=True)
class Nginx:
    """The running server: `direct` and `behind` answer, `proxy` asks the origin."""

    direct: int
    behind: int
    proxy: int
    log: Path

    def lines(self, port: int) -> list[str]:
        """What it has answered at a port: status, method and target of each request, in their order."""
        found = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [line.partition(" ")[2] for line in found if line.startswith(f"{port} ")]


@contextmanager
def nginx(folder: Path, origin: int) -> Iterator[Nginx]:
    """nginx until the block ends; `origin` is the port that its proxy asks."""
    folder.mkdir(parents=True, exist_ok=True)
    running = Nginx(free_port(), free_port(), free_port(), folder / "access.log")
    with _serving(folder, _CONFIG.format(folder=folder, origin=origin, direct=running.direct, behind=running.behind,
                                         proxy=running.proxy), running.direct):
        yield running


@contextmanager
def bearers(folder: Path, *added: tuple[int, str]) -> Iterator[list[int]]:
    """Ports, one for each origin and token, that pass requests on to that origin with that token, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    ports = [free_port() for _ in added]
    servers = "".join(_BEARER.format(port=port, origin=origin, token=token)
                      for port, (origin, token) in zip(ports, added, strict=True))
    with _serving(folder, f"{_HEAD.format(folder=folder)}{servers}}}", ports[0]):
        yield ports


@contextmanager
def _serving(folder: Path, words: str, port: int) -> Iterator[None]:
    """With `words` as its file, ready at `port`."""
    assert PROGRAM is not None
    config = folder / "nginx.conf"
    config.write_text(words)
    log = folder / "nginx.log"
    process = spawn([PROGRAM, "-p", str(folder), "-c", str(config)], log, {})
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                time.sleep(0.02)
        else:
            raise RuntimeError(f"nginx did not become ready:\n{log.read_text(errors='replace')[-2000:]}")
        yield
    finally:
        process.terminate()
        process.wait(20)

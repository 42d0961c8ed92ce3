"""The servers under test (see `testbed.postgres`)."""

from testbed.postgres import Server, debian, debian_bin, embedded, free_port

__all__ = ["Server", "debian", "debian_bin", "embedded", "free_port"]

"""Reading a secret where the configuration says it is, at the moment it is needed.

The configuration names secrets and never holds one, so that it can be printed, hashed and kept in
version control. What is read goes straight into a `Secret`; messages name the place, never the text.
"""

from __future__ import annotations

import os
import stat

from lockgate.config.strict import SecretReference
from lockgate.errors import ConfigError
from lockgate.model import Secret

_MAX_BYTES = 65_536


class SecretError(ConfigError):
    """A secret cannot be read. The message names its place."""

    code = "config.secret"


def read_secret(reference: SecretReference) -> Secret:
    """The secret now; `SecretError` where it is missing, empty, too long or not text."""
    if reference.env is not None:
        place = f"environment variable {reference.env}"
        text = os.environ.get(reference.env)
        if text is None:
            raise SecretError(f"the {place} is not set")
    else:
        place = f"file {reference.file}"
        text = _content(reference, place)
    if not text:
        raise SecretError(f"the {place} is empty")
    if "\0" in text:
        raise SecretError(f"the {place} holds a NUL byte")
    return Secret(text)


def _content(reference: SecretReference, place: str) -> str:
    if reference.file is None:
        raise SecretError("a secret needs `env` or `file`")
    try:
        # Non-blocking: opening a FIFO for reading would wait for a writer.
        handle = os.open(reference.file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise SecretError(f"the {place} is not a regular file")
            data = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(f"cannot read the {place}: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise SecretError(f"the {place} is longer than {_MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SecretError(f"the {place} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")

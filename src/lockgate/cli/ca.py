"""`lockgate ca`: the authority with which a forward proxy stands in for hosts, for clients to trust."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lockgate.app.configuration import load_configuration
from lockgate.net.authority import open_authority

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]


def ca(config: ConfigOption = Path("lockgate.yaml")) -> None:
    """Print the certificate of this installation's authority (PEM); it is made where there is none yet.

    Give it to the clients of a forward proxy, for example as SSL_CERT_FILE, REQUESTS_CA_BUNDLE or NODE_EXTRA_CA_CERTS. Its
    key stays in the state folder.
    """
    typer.echo(open_authority(load_configuration(config).settings.state).pem(), nl=False)

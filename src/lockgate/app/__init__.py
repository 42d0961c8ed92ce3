"""The composition root: the one place that knows everybody, and puts the gateway together.

Everything else is handed what it needs. `configuration` reads the file with everything that is
installed, `enforcement` asks how rules are held, `gateway` runs it all, `reload` takes over a changed
file, `status` shows it to the control API.
"""

from lockgate.app.configuration import compile_policy, described, load_configuration, vocabulary
from lockgate.app.enforcement import columns_of, enforcement_table
from lockgate.app.gateway import Gateway, serve

__all__ = [
    "Gateway", "columns_of", "compile_policy", "described", "enforcement_table", "load_configuration", "serve", "vocabulary",
]

"""What the verifier consists of, wherever it runs: standard library only, Python 3.8 or newer.

The gateway imports these modules; `packaging.standalone` writes them one after the other into the
`verify.py` of an evidence package. So there is one implementation of every check. That it can be
read by an auditor and run on an old Python, these rules hold here (and a test holds them):

- no import but of the standard library and of this folder;
- nothing that Python 3.8 does not have: no `match`, no ``dataclass(slots=True)``, no `int.bit_count`;
- a name at the top of a module is used in no other module, for all of them end up in one file.

Requests and their outcomes, of which a log is full, are read the short way (`ordinary`), whole rows of them together.
The short ways (also `disclosed.plain_payload`, and the methods named `follows`) refuse nothing: what they do not take
goes the long way, which alone says what is wrong.

Where lockgate has something faster than plain Python (orjson, cryptography), it is put in place of the
function of the same contract (`leaf.use_json`, `ed25519.use_ed25519`). Verdicts do not depend on it.
"""

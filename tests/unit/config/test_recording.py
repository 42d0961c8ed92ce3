"""What a file may say of recordings, and every mistake with its line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lockgate.audit.recording.sealing import recipient_problem
from lockgate.config.load import Loaded, load
from lockgate.errors import ConfigError
from tests.unit.config.test_load import GOOD, KNOWN

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
NOBODY = "asks for recordings, which nobody could play"


def loaded(folder: Path, recording: str = "", connection: str = "", rule: str = "") -> Loaded:
    text = GOOD.replace("policies:\n", f"audit: {{recording: {{{recording}}}}}\npolicies:\n")
    text = text.replace("    address: crm-db", f"{connection}    address: crm-db") + rule
    path = folder / "lockgate.yaml"
    path.write_text(text)
    return load(path, replace(KNOWN, recipient=recipient_problem))


def test_nothing_is_recorded_unless_somebody_says_so(tmp_path: Path) -> None:
    """Off by default, and a recipient alone asks for nothing."""
    plain = loaded(tmp_path)
    assert plain.settings.audit.recording.recipients == ()
    assert not plain.settings.audit.recording.record
    assert not any(rule.record for rule in loaded(tmp_path, f"recipients: [{RECIPIENT}]").rules)


def test_a_rule_records_and_asks_for_the_backend_s_end_with_it(tmp_path: Path) -> None:
    """`record_raw` includes `record`; a rule that only records does something."""
    rules = loaded(tmp_path, f"recipients: [{RECIPIENT}], max_bytes: 1000000, on_limit: mark, on_error: mark",
                   "    record: false\n", "  - {name: one, record: true}\n  - {name: two, record_raw: true}\n").rules
    assert [(rule.record, rule.record_raw) for rule in rules[-2:]] == [(True, False), (True, True)]
    assert all(rule.restricts for rule in rules[-2:])


@pytest.mark.parametrize(("recording", "connection", "rule", "line", "words"), [
    ("record: true", "", "", 12, f"`audit.recording` {NOBODY}"),
    ("", "    record: true\n", "", 10, f"connection `crm` {NOBODY}"),
    ("", "", "  - {name: one, record: true}\n", 31, f"rule `one` {NOBODY}"),
    ("", "", "  - {name: one, record_raw: true}\n", 31, f"rule `one` {NOBODY}"),
    (f"recipients: [{RECIPIENT}]", "", "  - {name: one, record: true, when: op.verb == 'x'}\n", 31, "without `when`"),
    ("recipients: [age1nothing]", "", "", 12, "`age1nothing` is no age public key"),
    (f"recipients: [{RECIPIENT}], max_bytes: 1", "", "", 12, "65536"),
])
def test_what_could_not_be_kept_is_an_error(
    tmp_path: Path, recording: str, connection: str, rule: str, line: int, words: str,
) -> None:
    """A recording that nobody could play, one that would begin in the middle, and recipients that are none (I5)."""
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, recording, connection, rule)
    assert f"lockgate.yaml:{line}: " in str(caught.value)
    assert words in str(caught.value)

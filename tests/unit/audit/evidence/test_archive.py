"""Names in a package: what an auditor's `tar` makes of them."""

from __future__ import annotations

import pytest

from lockgate.audit.evidence.archive import member_header


@pytest.mark.parametrize("name", [
    "../away", "recordings/../../away.rec", "recordings/..", "./a", "a/./b", ".", "..", "recordings/.hidden/a.rec"])
def test_no_name_leads_out_of_the_folder_or_hides_in_it(name: str) -> None:
    """The reader builds every header again, so what has none cannot be in an archive."""
    with pytest.raises(ValueError, match="does not fit"):
        member_header(name, 1)
    assert member_header("recordings/a..b/c.d.rec", 1)

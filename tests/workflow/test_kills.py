"""A campaign that is killed again and again; see kill_campaign for the long version."""

from pathlib import Path

import pytest

from tests.workflow.kill_campaign import kill_campaign


@pytest.mark.slow
def test_killing_a_campaign_changes_no_table_and_repeats_no_item(
    tmp_path: Path,
) -> None:
    outcome = kill_campaign(tmp_path, kills=4, seed=1)
    assert outcome.num_kills == 4 and outcome.num_committed > 0
    assert outcome.differing == () and outcome.repeated == ()

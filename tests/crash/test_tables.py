"""A table is scored while processes and servers are killed, and its output is the same to the byte."""

from functools import partial
from pathlib import Path

import pytest
from penstock import Penstock

from tests.crash import tables
from tests.services.fixtures import require_servers

pytestmark = [pytest.mark.farm, pytest.mark.service, pytest.mark.xdist_group("servers")]

#: `python -m tests.crash.tables` has twenty seeds, and 200,000 rows.
SEED, ROWS = 3, 30_000


@pytest.mark.timeout(600)
def test_kills_change_no_byte_of_a_tables_output(tmp_path: Path) -> None:
    require_servers()
    with tables.farm_of(tmp_path) as farm, Penstock(farm.url, farm.key, retry_for_s=tables.END_S) as client:
        stored = client.objects.upload(tables.table(tmp_path / "table.parquet", ROWS)).id
        peace = tables.scored(client, stored, tmp_path)
        assert peace.failed == ROWS // tables.BAD_EVERY
        killer = tables.Killer(farm, SEED, kills=3)
        # A quick machine may be through before the first kill.
        while not killer.killed:
            assert killer.beside(partial(tables.scored, client, stored, tmp_path)) == peace
        assert not tables.left_over(farm)

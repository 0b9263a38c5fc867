from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonesuch.cli.contact_sheet import ContactSheet


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (5, 3, 2), (6, 3, 2), (7, 4, 2), (8, 4, 2)]
)
def test_geometry(count: int, columns: int, rows: int) -> None:
    sheet = ContactSheet(count, 32)
    assert (sheet.columns, sheet.rows, sheet.cell) == (columns, rows, 32)


@given(st.integers(1, 100_000), st.sampled_from([4, 32, 1024]))
def test_a_sheet_is_at_most_twice_as_wide_as_high_and_has_no_empty_row(count: int, resolution: int) -> None:
    sheet = ContactSheet(count, resolution)
    assert (sheet.rows - 1) * sheet.columns < count <= sheet.rows * sheet.columns
    assert sheet.rows <= sheet.columns <= 2 * sheet.rows
    assert 16 <= sheet.cell <= 512
    assert sheet.cell == 16 or sheet.columns * sheet.cell <= 4096

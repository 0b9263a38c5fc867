from __future__ import annotations

import pytest

from nonesuch.benchmarks.reports.grid import Grid, number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1069.4, "1069"), (219.4, "219"), (23.44, "23.4"), (1, "1"), (4.0, "4"), (0.012345, "0.0123"),
        (-2.5, "-2.50"), (123456.0, "123456"), (999.6, "1000"),
    ],
)  # fmt: skip
def test_numbers_have_three_figures_and_no_exponent(value: float, text: str) -> None:
    assert number(value) == text


GRID = Grid(["name", "ms"], [["a|b", "1.0"], ["<c>", "12.0"]], "times")


def test_markdown_escapes_its_bars() -> None:
    assert GRID.markdown() == "times:\n\n| name | ms |\n| --- | ---: |\n| a\\|b | 1.0 |\n| <c> | 12.0 |"


def test_html_escapes_its_cells() -> None:
    page = GRID.html()
    assert "<caption>times</caption>" in page
    assert '<td>&lt;c&gt;</td><td class="number">12.0</td>' in page


def test_text_is_aligned() -> None:
    assert GRID.text().splitlines() == ["times:", "name    ms", "a|b    1.0", "<c>   12.0"]

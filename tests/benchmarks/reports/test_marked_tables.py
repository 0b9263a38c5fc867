from __future__ import annotations

from pathlib import Path

import pytest

from nonesuch.benchmarks.reports.marked_tables import write_tables
from nonesuch.benchmarks.reports.tables import TABLES
from nonesuch.benchmarks.result import BenchmarkError

from .conftest import MakeResult

PAGE = "# Speed\n\n<!-- bench:{0} -->\nold\n<!-- /bench -->\n\nBelow.\n"


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_written_once_and_the_rest_of_the_page_stays(
    make_result: MakeResult, tmp_path: Path, name: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.format(name))
    assert write_tables(make_result(), page) == ([name], [])
    first = page.read_text()
    assert first.startswith(f"# Speed\n\n<!-- bench:{name} -->\n\nMeasured on A Processor, 2 available of 2 cores; ")
    assert first.endswith("|\n\n<!-- /bench -->\n\nBelow.\n")
    assert "\n| --- |" in first
    assert "old" not in first
    assert write_tables(make_result(), page) == ([name], [])
    assert page.read_text() == first
    write_tables(make_result(1), page)
    assert page.read_text() != first


def test_the_headline_has_the_best_of_each_kind(make_result: MakeResult, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.format("headline"))
    write_tables(make_result(), page)
    rows = [line.split("|")[1].strip() for line in page.read_text().splitlines() if line.startswith("| ")]
    assert rows[2:] == [
        "openvino",
        "onnxruntime",
        "wheel network in OpenVINO",
        "torch compile, inference form, channels_last",
        "torch eager, inference form, channels_last",
        "arithmetic floor",
    ]


def test_what_the_result_lacks_stays_as_it_was(make_result: MakeResult, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.format("peers") + PAGE.format("latency"))
    result = make_result()
    latency = make_result(measurements=[one for one in result.measurements if one.suite == "latency"])
    assert write_tables(latency, page) == (["latency"], ["peers"])
    assert page.read_text().startswith(PAGE.format("peers"))
    page.write_text(PAGE.format("peers"))
    with pytest.raises(BenchmarkError, match=r"nothing for the tables of .*: peers; measure these first"):
        write_tables(latency, page)
    assert page.read_text() == PAGE.format("peers")


def test_a_doubtful_run_says_so_above_its_own_table_only(make_result: MakeResult, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.format("latency") + PAGE.format("memory"))
    write_tables(make_result(flags=["latency: a busy machine", "note: a governor"]), page)
    latency, _, memory = page.read_text().partition("<!-- bench:memory -->")
    assert "**Not a clean run: latency: a busy machine.**" in latency
    assert "clean run" not in memory


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# No marker\n", "has no marker; write <!-- bench:NAME -->"),
        ("<!-- bench:speed -->\n<!-- /bench -->\n", "line 1: no table 'speed'; there are headline, latency"),
        ("a\n<!-- bench:latency -->\nb\n", "line 2: bench:latency is not closed"),
        ("<!-- bench:latency -->\n<!-- bench:memory -->\n<!-- /bench -->\n", "line 2: bench:latency of line 1 is not"),
        ("<!-- /bench -->\n", "line 1: <!-- /bench --> closes nothing"),
        ("<!-- bench:latency --> text\n<!-- /bench -->\n", "line 1: a malformed marker"),
        ("<!-- bench latency -->\n<!-- /bench -->\n", "line 1: a malformed marker"),
    ],
)
def test_malformed_markers_are_named_and_nothing_is_written(
    make_result: MakeResult, tmp_path: Path, text: str, problem: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BenchmarkError) as caught:
        write_tables(make_result(), page)
    assert problem in caught.value.message
    assert page.read_text() == text


def test_a_page_that_is_not_there_is_named(make_result: MakeResult, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"cannot read .*none\.md: No such file"):
        write_tables(make_result(), tmp_path / "none.md")

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from nonesuch.benchmarks.reports.figures import FIGURES
from nonesuch.benchmarks.reports.report import HTML_FILE, MARKDOWN_FILE, write_report
from nonesuch.benchmarks.result import Measurement, Result

from .conftest import SKIPPED, MakeResult


@pytest.fixture(scope="module")
def folder(make_result: MakeResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a whole result; the plots take seconds."""
    folder = tmp_path_factory.mktemp("report")
    write_report(make_result(), folder)
    return folder


def only(suite: str, result: Result) -> list[Measurement]:
    return [one for one in result.measurements if one.suite == suite]


def test_both_reports_hold_every_subject_every_reason_and_every_plot(make_result: MakeResult, folder: Path) -> None:
    result = make_result()
    markdown, page = (folder / MARKDOWN_FILE).read_text(), (folder / HTML_FILE).read_text()
    page_text = unescape(re.sub(r"<[^>]+>", " ", page))
    for text in (markdown, page_text):
        for subject in {one.subject for one in result.measurements}:
            assert subject in text
        for skipped in SKIPPED:
            assert f"{skipped.subject}: {skipped.reason}" in text
        for value in (*result.environment.values(), result.model_id, result.command):
            assert value in text
        assert "not to be quoted" not in text
    assert "<matching>" not in page  # it is escaped
    assert page.count("data:image/svg+xml;base64,") == len(FIGURES)
    for suite in FIGURES:
        assert f"](plots/{suite}.svg)" in markdown
        assert (folder / "plots" / f"{suite}.svg").read_text().startswith("<?xml")
        with Image.open(folder / "plots" / f"{suite}.png") as picture:
            assert min(picture.size) > 200
            assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 8  # there is something in it


def test_the_page_needs_nothing_else_and_closes_what_it_opens(folder: Path) -> None:
    opened: list[str] = []
    sources: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            sources.extend(value or "" for name, value in attrs if name in {"src", "href"})
            if tag not in {"img", "meta"}:
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    Checker().feed((folder / HTML_FILE).read_text())
    assert opened == []
    assert sources
    assert all(source.startswith("data:") for source in sources)


def test_flags_stand_on_top_and_notes_do_not_disqualify(make_result: MakeResult, tmp_path: Path) -> None:
    flags = ["note: the governor is slow", "latency: a <busy> machine"]
    flagged = make_result(measurements=only("memory", make_result()), flags=flags)
    markdown, page = (path.read_text() for path in write_report(flagged, tmp_path))
    assert markdown.index("This run is not to be quoted:") < markdown.index("latency: a <busy> machine")
    assert markdown.index("latency: a <busy> machine") < markdown.index("Measured on")
    assert "> - note" not in markdown
    assert "note: the governor is slow" in markdown
    assert page.index("not to be quoted") < page.index("a &lt;busy&gt; machine") < page.index("<h2>")


def test_a_report_of_one_suite_removes_the_plots_of_an_older_one(make_result: MakeResult, tmp_path: Path) -> None:
    for suite in ("tuning", "memory"):
        part = make_result(measurements=only(suite, make_result()), skipped=[])
        markdown, _ = write_report(part, tmp_path)
        assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [f"{suite}.png", f"{suite}.svg"]
    titles = re.findall(r"^## (.*)$", markdown.read_text(), re.MULTILINE)
    assert titles == ["Memory", "Environment"]


def test_equal_results_give_equal_files(make_result: MakeResult, tmp_path: Path) -> None:
    part = make_result(measurements=only("latency", make_result()))
    first = [path.read_bytes() for path in write_report(part, tmp_path / "a")]
    second = [path.read_bytes() for path in write_report(part, tmp_path / "b")]
    assert first == second

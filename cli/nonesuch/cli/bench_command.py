"""`nonesuch bench`: measures this machine, compares results, and writes reports and tables from them."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import click

from nonesuch.benchmarks.compare import MIN_EFFECT, Verdict, compare_results
from nonesuch.benchmarks.reports.marked_tables import write_tables
from nonesuch.benchmarks.reports.report import write_report
from nonesuch.benchmarks.result import Request, Result
from nonesuch.benchmarks.run_all import ALL, SUITES, run_suites

from .prepare import prepare
from .progress import on_terminal

_RESULT = click.Path(path_type=Path)
_ALL_SUMMARY = f"Every suite except {', '.join(name for name in SUITES if name not in ALL)}."


@click.group(name="bench")
def command() -> None:
    """Measure this machine: every backend that can render the model takes turns in one run."""


def _suite_command(name: str, suites: tuple[str, ...], summary: str, about: str) -> click.Command:
    @click.command(name=name, help=about, short_help=summary)
    @click.option("--model", default="faces", show_default=True, help="A model's name, or an artifact's folder.")
    @click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder.")
    @click.option("--quick", is_flag=True, help="Fewer rounds and cases, the same subjects.")
    @click.option("--subjects", multiple=True, metavar="TEXT", help="Only subjects whose name contains this text.")
    @click.option("--rounds", type=click.IntRange(min=1), help="Rounds of each suite.  [default: the suite's own]")
    def run(model: str, out: Path, quick: bool, subjects: tuple[str, ...], rounds: int | None) -> None:
        prepare(model)
        # Without --out: the folder of a result says nothing about the measurement.
        line = ["nonesuch", "bench", name, "--model", model, *["--quick"] * quick]
        line += [part for subject in subjects for part in ("--subjects", subject)]
        line += [] if rounds is None else ["--rounds", str(rounds)]
        request = Request(model, quick=quick, subjects=subjects, rounds=rounds, say=_print_progress)
        result = run_suites(suites, request, out=out, command=shlex.join(line))
        _print_progress("writing the report")
        reports = write_report(result, out)
        _print_progress("")
        _print_summary(result)
        for path in (out / "result.json", *reports):
            click.echo(path)

    return run


for _name, _suite in SUITES.items():
    command.add_command(_suite_command(_name, (_name,), _suite.summary, _suite.summary))
command.add_command(
    _suite_command(
        "all",
        ALL,
        _ALL_SUMMARY,
        f"{', '.join(ALL)}, in one result. A suite that fails is left out, with its reason; finished ones are on disk.",
    )
)


@command.command(name="compare")
@click.argument("before", metavar="A.json", type=_RESULT)
@click.argument("after", metavar="B.json", type=_RESULT)
@click.option(
    "--least-effect",
    "min_effect",
    default=100 * MIN_EFFECT,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Ignore differences up to this many percent.",
)
@click.option("--fail-on-regression", is_flag=True, help="Exit with 1 if anything is worse beyond noise.")
def compare(before: Path, after: Path, min_effect: float, fail_on_regression: bool) -> None:
    """List the slowdowns from A to B beyond noise, worst first."""
    found = compare_results(Result.load(before), Result.load(after), min_effect / 100)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.matches:
        click.echo(found.grid.text())
    for side, only in (("A", found.missing), ("B", found.added)):
        for one in only:
            click.echo(f"only in {side}: {', '.join(one.key)}")
    click.echo(found.line)
    if fail_on_regression and found.of(Verdict.WORSE):
        sys.exit(1)


@command.command(name="report")
@click.argument("result", metavar="RESULT.json", type=_RESULT)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder.")
def report(result: Path, out: Path) -> None:
    """Write the plots and reports of a result again."""
    for path in write_report(Result.load(result), out):
        click.echo(path)


@command.command(name="table")
@click.argument("result", metavar="RESULT.json", type=_RESULT)
@click.option(
    "--into",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Markdown with <!-- bench:NAME --> and <!-- /bench -->.",
)
def table(result: Path, into: Path) -> None:
    """Write measured tables into a document."""
    written, left = write_tables(Result.load(result), into)
    click.echo(f"{into}: {', '.join(written)}")
    if left:
        click.echo(f"left as they were, not in the result: {', '.join(left)}", err=True)


def _print_progress(line: str) -> None:
    """Rewrite one line on a terminal, print plain lines elsewhere."""
    if on_terminal():
        width = shutil.get_terminal_size().columns - 1
        click.echo(f"\r\x1b[2K{line[:width]}", nl=False, err=True)
    elif line:
        click.echo(line, err=True)


def _print_summary(result: Result) -> None:
    for suite in dict.fromkeys(one.suite for one in result.skipped):
        for text in result.left_out(suite):
            click.echo(f"left out of {suite}: {text}", err=True)
    for doubt in result.doubts():
        click.echo(f"not a clean run: {doubt}", err=True)

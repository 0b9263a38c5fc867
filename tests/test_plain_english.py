"""Plain English, as far as patterns can check it: identifiers, strings, comments and documents (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import REPOSITORY

IN_TEXTS = {
    # "there is no", "is no longer" and comparatives are plain.
    r"(?<![Tt]here\s)\b(is|are|was|were) no (?!(longer|more|better|faster)\b)[a-z]+": '"is not a Y; use Z"',
    r"\bat the (least|most)\b": '"at least", "at most", "min" or "max"',
    r"\b(nobody who|whoever)\b": "the caller, the user or the operator",
    r"\bwhat (comes|came|goes|went|is had)\b": "a noun, such as output or default",
    r"\bto be had\b": '"available", "valid" or "installed"',
    r"\bmend(s|ed)?\b": '"fix"',
    r"\bin clear\b": '"without TLS" or "as text"',
}
IN_NAMES = {
    r"(^|_)(LEAST|MOST)_[A-Z]": "MIN_ or MAX_",
    r"^_?(least|most)_[a-z]": "min_ or max_",
    r"^_(must|made|WAY_OUT|HONEST|OF)$": "a noun, or a verb with its object",
}
IN_NAMES_OF_TESTS = {pattern: instead for pattern, instead in IN_NAMES.items() if "MOST" in pattern}
PORTIONS = ("engine", "export", "server", "client", "cli", "benchmarks")
QUOTED = re.compile(r'"[^"\n]*"')  # in documents: texts of others, and examples of what not to write

Piece = tuple[int, str]  # its first line, and the text


def names(tree: ast.AST) -> Iterator[Piece]:
    """The identifiers that a module defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def texts(source: str, tree: ast.AST) -> Iterator[Piece]:
    """The strings of a module, docstrings included, and its comments; comments on successive lines are one text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    first, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != first + len(lines):
                yield first, "\n".join(lines)
                first, lines = token.start[0], []
            lines.append(token.string.lstrip("# "))
    yield first, "\n".join(lines)


def problems(pieces: Iterator[Piece], patterns: dict[str, str]) -> Iterator[str]:
    """`LINE: 'FOUND': write INSTEAD`, for each match of a pattern; a space in a pattern also matches a line break."""
    for first, text in pieces:
        for pattern, instead in patterns.items():
            for match in re.finditer(pattern.replace(" ", r"\s+"), text):
                line = first + text.count("\n", 0, match.start())
                yield f"{line}: {' '.join(match[0].split())!r}: write {instead}"


def problems_of_module(source: str) -> list[str]:
    tree = ast.parse(source)
    return [*problems(names(tree), IN_NAMES), *problems(texts(source, tree), IN_TEXTS)]


def problems_of_document(text: str) -> list[str]:
    unquoted = QUOTED.sub(lambda quoted: " " * len(quoted[0]), text)
    return list(problems(iter([(1, unquoted)]), IN_TEXTS))


def in_files(found: dict[Path, list[str]]) -> list[str]:
    return [f"{path.relative_to(REPOSITORY)}:{problem}" for path, each in found.items() for problem in each]


@pytest.mark.parametrize("portion", PORTIONS)
def test_the_code_is_in_plain_english(portion: str) -> None:
    paths = sorted((REPOSITORY / portion).rglob("*.py"))
    found = in_files({path: problems_of_module(path.read_text()) for path in paths if "_pb2" not in path.name})
    assert not found, "\n".join(found)


def test_the_documents_are_in_plain_english() -> None:
    paths = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    found = in_files({path: problems_of_document(path.read_text()) for path in paths})
    assert not found, "\n".join(found)


def test_the_names_of_the_tests_say_min_and_max() -> None:
    paths = sorted((REPOSITORY / "tests").rglob("*.py"))
    found = in_files({p: list(problems(names(ast.parse(p.read_text())), IN_NAMES_OF_TESTS)) for p in paths})
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("_MOST_CALLS = 3", "1: '_MOST_C': write MIN_ or MAX_"),
        ("def f(least_ms): ...", "1: 'least_m': write min_ or max_"),
        ("x = 1\nself._made = x", "2: '_made': write a noun, or a verb with its object"),
        ('f"{size} is no "\nf"size"', ""),
        ('x = ("it is no "\n     "size")', "1: 'is no size': write \"is not a Y; use Z\""),
        ('"""A thing.\n\nIt is\nno thing."""', "3: 'is no thing': write \"is not a Y; use Z\""),
        ("x = 1  # it takes three at\n# the most", '1: \'at the most\': write "at least", "at most", "min" or "max"'),
        ("# it is no longer used, there is no other, and at most one is", ""),
    ],
)
def test_a_module_that_breaks_the_rules_is_found(source: str, expected: str) -> None:
    assert "\n".join(problems_of_module(source)) == expected


def test_a_document_may_quote() -> None:
    assert problems_of_document('Write\n\nnot "is no Y", as it is no rule.') == [
        "3: 'is no rule': write \"is not a Y; use Z\""
    ]

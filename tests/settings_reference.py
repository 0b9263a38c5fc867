"""Writes the tables of settings in docs/serving.md.

python tests/settings_reference.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from nonesuch.server.settings import KeySettings, ModelSettings, ServerSettings, TlsSettings

PAGE = Path(__file__).parent.parent / "docs" / "serving.md"
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->\n"
TABLES: dict[str, type[BaseModel]] = {
    "the server": ServerSettings,
    "`[[models]]`": ModelSettings,
    "`[[keys]]`": KeySettings,
    "`[tls]`": TlsSettings,
}


def default_of(field: FieldInfo) -> str:
    value: Any = field.default
    if field.is_required():
        return "required"
    if value is None:
        return "unset"
    if value == ():
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def reference() -> str:
    """The text between the markers."""

    def lines() -> Iterator[str]:
        for title, table in TABLES.items():
            yield f"\n| {title} | default | what |\n| --- | --- | --- |"
            for name, field in table.model_fields.items():
                yield f"| `{name}` | {default_of(field)} | {field.description} |"

    return "\n".join(lines()).lstrip("\n") + "\n"


def main() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{reference()}\n{END}{after}")


if __name__ == "__main__":
    main()

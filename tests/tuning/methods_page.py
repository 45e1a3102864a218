"""The table of methods in docs/tuning.md, from what their files say: `python -m tests.tuning.methods_page` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from tuning.peft_types import homes
from tuning.registry import LayerFamily, methods

PAGE = Path(__file__).parents[2] / "docs" / "tuning.md"
START, END = "<!-- methods -->\n", "<!-- end of methods -->"


def table() -> str:
    """A row a method: PEFT's name, the kinds of layer that it can adapt, and the first paragraph of its file."""
    rows = ["| `method.name` | sits on | what it is |", "| --- | --- | --- |"]
    return "\n".join([*rows, *_rows()]) + "\n"


def _rows() -> Iterator[str]:
    for name, family in sorted(methods().items()):
        kinds = ", ".join(sorted(family.roles)) if isinstance(family, LayerFamily) else "virtual tokens"
        said = (import_module(homes()[name]).__doc__ or "").split("\n\n")[0].replace("\n", " ").strip()
        yield f"| {name} | {kinds} | {said} |"


def with_table(text: str) -> str:
    before, _, rest = text.partition(START)
    return f"{before}{START}{table()}{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text("utf-8")), encoding="utf-8")

"""`starling adapters` and `rollback`: what was trained and is installed, and the version before."""

from __future__ import annotations

import argparse
import json
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tuning.ranking.serving.model import adapter_registry


def add(commands: Any) -> None:
    """Add the commands to the parser's."""
    shown = commands.add_parser("adapters", help="what is installed, and how good it was")
    shown.add_argument("--json", action="store_true", help="print JSON instead of a table")
    shown.set_defaults(run=show_adapters)
    back = commands.add_parser("rollback", help="use the version of an adapter before the one that is used")
    back.add_argument("name", metavar="NAME")
    back.set_defaults(run=roll_back)


def show_adapters(given: argparse.Namespace) -> int:
    """A table of what is installed."""
    console = Console(markup=False)
    found = adapter_registry.all_used()
    if given.json:
        rows = [
            {"name": one.name, "version": one.version, "folder": str(one.folder), **msgspec.to_builtins(one.card)}
            for one in found
        ]
        print(json.dumps(rows, indent=1))
        return 0
    if not found:
        console.print("No adapter is installed. Train one on your code: starling train --repo PATH")
        return 0
    table = Table("name", "version", "made", "languages", "workspaces", "R@1", "gained")
    for one in found:
        card = one.card
        figures = [f"{card.figures[key]:+.3f}" if key in card.figures else "" for key in ("R@1", "R@1 gained")]
        table.add_row(
            one.name,
            str(one.version),
            card.made,
            ", ".join(card.languages),
            "\n".join(card.workspaces) or "all",
            figures[0].lstrip("+"),
            figures[1],
        )
    console.print(table)
    return 0


def roll_back(given: argparse.Namespace) -> int:
    """One step back."""
    found = adapter_registry.roll_back(given.name)
    console = Console(markup=False)
    if found is None:
        console.print(
            f"{given.name} had no version before: what comes with Starling is used there from now on.", highlight=False
        )
    else:
        console.print(f"{found.name} {found.version} of {found.card.made} is used from now on.", highlight=False)
    return 0

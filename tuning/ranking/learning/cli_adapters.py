"""`starling adapters` and `rollback`: what is installed, and the version before. `cli_sharing` has publish and sync."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from tuning.ranking.learning import cli_sharing
from tuning.ranking.serving.model import adapter_registry
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, USAGE, Installed

TITLES = {ADAPTERS: "adapters", USAGE: "usage tables"}


def add(commands: Any) -> None:
    """Add the commands to the parser's."""
    shown = commands.add_parser("adapters", help="what is installed, and how good it was; publish and sync share it")
    shown.add_argument("--json", action="store_true", help="print JSON instead of a table")
    shown.set_defaults(run=show_adapters)
    cli_sharing.add(shown.add_subparsers(metavar="COMMAND", title="to share them with a team"))
    back = commands.add_parser("rollback", help="use the version of an adapter before the one that is used")
    back.add_argument("name", metavar="NAME")
    back.add_argument("--usage", action="store_true", help="of a usage table, and not of an adapter")
    back.set_defaults(run=roll_back)


def show_adapters(given: argparse.Namespace) -> int:
    """Tables of what is installed."""
    console = Console(markup=False)
    found = {kind: adapter_registry.all_used(kind) for kind in (ADAPTERS, USAGE)}
    if given.json:
        rows = [
            {
                "kind": kind,
                "name": one.name,
                "version": one.version,
                "folder": str(one.folder),
                **msgspec.to_builtins(one.card),
            }
            for kind, several in found.items()
            for one in several
        ]
        print(json.dumps(rows, indent=1))
        return 0
    if not any(found.values()):
        console.print("No adapter is installed. Train one on your code: starling train --repo PATH")
        return 0
    for kind, several in found.items():
        if several:
            console.print(_table(TITLES[kind], several))
    return 0


def _table(title: str, several: Sequence[Installed]) -> Table:
    columns = ("name", "version", "made", "languages", "workspaces", "R@1", "gained")
    table = Table(*columns, title=title)
    if any(one.card.source for one in several):
        table.add_column("from", overflow="fold")
    for one in several:
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
            *([card.source or "trained here"] if len(table.columns) > len(columns) else ()),
        )
    return table


def roll_back(given: argparse.Namespace) -> int:
    """One step back."""
    found = adapter_registry.roll_back(given.name, USAGE if given.usage else ADAPTERS)
    console = Console(markup=False)
    if found is None:
        console.print(
            f"{given.name} had no version before: what comes with Starling is used there from now on.", highlight=False
        )
    else:
        console.print(f"{found.name} {found.version} of {found.card.made} is used from now on.", highlight=False)
    return 0

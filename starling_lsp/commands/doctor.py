"""starling doctor: what is installed, what is missing, and how to mend each gap, in a line each."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from lsp_server import serving
from lsp_server.settings import Settings
from starling_lsp.findings import Finding
from starling_lsp.findings.editors import editors
from starling_lsp.findings.engine import engine
from starling_lsp.findings.machine import index, logs, machine
from starling_lsp.findings.model import model
from starling_lsp.findings.servers import servers


def main(words: Sequence[str]) -> int:
    """Print the findings. Returns the exit code: 1 if something that is needed is missing, 2 for a wrong command line."""
    options = argparse.ArgumentParser(
        prog="starling doctor", description="Check the installation, and say how to fix each problem."
    )
    options.add_argument("--json", action="store_true", help="print JSON instead of lines")
    serving.add_settings(options)
    own, wrapped = serving.split(words[1:])
    arguments = options.parse_args(own)
    settings, problems = serving.settings_of(arguments, wrapped)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    findings = examine(settings)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)
    return int(any(finding.remedy and finding.needed for finding in findings))


def examine(settings: Settings) -> list[Finding]:
    """All findings for these settings. Loads the model, which takes a second or two."""
    ranks_with_model = model(settings) if settings.ranker == "model" else []
    return [machine(), *servers(settings), *ranks_with_model, *engine(settings), index(), *editors(), logs()]


def _show(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for width in (None, 24, None):
        table.add_column(overflow="fold", max_width=width)
    for finding in findings:
        mark, style = ("✓", "green") if not finding.remedy else ("✗", "red") if finding.needed else ("–", "yellow")
        table.add_row(Text(mark, style=style), Text(finding.what), Text(finding.found))
        if finding.remedy:
            table.add_row("", "", Text(f"→ {finding.remedy}", style="bold" if finding.needed else ""))
    console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "110")), markup=False)
    console.print(table)
    console.print(Text(f"\n{_summary(findings)}"))


def _summary(findings: Sequence[Finding]) -> str:
    broken = [finding for finding in findings if finding.remedy and finding.needed]
    if broken:
        return f"Starling can't work as it is: see {', '.join(finding.what for finding in broken)}."
    offers = sum(bool(finding.remedy) for finding in findings)
    return "Starling works." + (
        " A line with – names something that is not installed; everything else works without it." if offers else ""
    )

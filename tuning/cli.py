"""The engine from a terminal: train, merge, inspect. Help, and errors in what was asked, load no torch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tuning.errors import TuningError
from tuning.training import settings
from tuning.training.options import HELP, Options

EPILOG = """\
examples:
  python -P -m tuning train first.toml                            train an adapter; the same again goes on where it was stopped
  torchrun --nproc-per-node 2 -m tuning train first.toml       the same with two processes, and the same adapter
  python -P -m tuning inspect runs/first                          what an adapter is
  python -P -m tuning merge runs/first --out models/mine          a model of its own: the base with the adapter in its weights

`python -P -m tuning train --help` shows a whole configuration. Nothing connects anywhere unless the configuration says online = true.
"""


def parser() -> argparse.ArgumentParser:
    """The command line: one subcommand a job."""
    raw = argparse.RawDescriptionHelpFormatter
    main = argparse.ArgumentParser(
        prog="python -P -m tuning",
        description="Train adapters for a language model, and use them.",
        epilog=EPILOG,
        formatter_class=raw,
    )
    jobs = main.add_subparsers(dest="job", metavar="train | merge | inspect", required=True)
    train = jobs.add_parser(
        "train", help="train an adapter as a TOML file says", description=_described(), formatter_class=raw
    )
    train.add_argument("config", type=Path, metavar="CONFIG.toml")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    merge = jobs.add_parser("merge", help="put an adapter into its base's weights, as a model of its own")
    merge.add_argument("adapter", type=Path, metavar="ADAPTER", help="the adapter's folder")
    merge.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder to write; it must not exist yet"
    )
    merge.add_argument(
        "--base", type=Path, metavar="DIR", help="the base's folder, where it is not the one that the adapter names"
    )
    inspect = jobs.add_parser("inspect", help="method, layers, size and base of an adapter")
    inspect.add_argument("adapter", type=Path, metavar="ADAPTER", help="the adapter's folder")
    inspect.add_argument(
        "--base", type=Path, metavar="DIR", help="the base's folder, where it is not the one that the adapter names"
    )
    return main


def _described() -> str:
    example = (settings.__doc__ or "").partition("\n\n")[2]
    standard = Options()
    width = max(map(len, HELP))
    rows = [f"    {name:<{width}}  {text} (default {_toml(getattr(standard, name))})" for name, text in HELP.items()]
    return "\n".join(
        ["A run as a TOML file says it; relative paths start at the file.\n", example, "options of [training]:", *rows]
    )


def _toml(value: object) -> str:
    return "left out" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 where it could not be done and standard error says why, or 130 where it was interrupted."""
    asked = parser().parse_args(argv)
    try:
        if asked.job == "train":
            run = settings.read(asked.config)
            from tuning.training.command import train

            train(run, show=not asked.quiet)
        elif asked.job == "merge":
            from tuning.merging import merge

            merge(asked.adapter, asked.out, asked.base)
        else:
            from tuning.inspecting import show

            show(asked.adapter, asked.base)
    except (TuningError, OSError) as error:
        if os.environ.get("RANK", "0") == "0":  # of several processes one says it
            print(f"python -P -m tuning {asked.job}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    return 0

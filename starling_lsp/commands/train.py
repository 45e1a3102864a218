"""starling train, adapters and rollback: an adapter of one's own code, and what is installed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from corpus.interpreter import end_as_with_ctrl_c


def main(words: Sequence[str]) -> int:
    """Run the command that the first word names; returns the exit code."""
    from tuning.ranking.__main__ import answered
    from tuning.ranking.learning import cli_adapters, cli_train

    end_as_with_ctrl_c()
    options = argparse.ArgumentParser(prog="starling")
    commands = options.add_subparsers(required=True, metavar="COMMAND")
    cli_train.add(commands)
    cli_adapters.add(commands)
    given = options.parse_args(list(words))
    return answered(lambda: given.run(given))

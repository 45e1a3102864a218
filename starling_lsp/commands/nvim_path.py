"""starling nvim-path: where Neovim's side of Starling is installed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "nvim"


def main(words: Sequence[str]) -> int:
    """Print the folder."""
    argparse.ArgumentParser(
        prog="starling nvim-path",
        description="Print the folder to add to Neovim's runtimepath, as in: vim.opt.runtimepath:append(vim.trim(vim.fn.system('starling nvim-path')))",
    ).parse_args(list(words[1:]))
    print(FOLDER)
    return 0

"""The commands of `starling`: one module each, with `main(words) -> exit code`; `words` begins with the command's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Command:
    """`module` in this package has its `main`; `summary` is its line in `starling --help`."""

    module: str
    summary: str


COMMANDS: Mapping[str, Command] = {
    "doctor": Command(module="doctor", summary="what is installed, what is missing, and what to do about it"),
    "complete": Command(module="complete", summary="one completion list, before and after, with stars and timings"),
    "install-model": Command(module="install_model", summary="fetch the code model once, so that it ranks too"),
    "train": Command(module="train", summary="learn from your own repositories, and install what ranks better"),
    "adapters": Command(
        module="train", summary="what is installed, and how good it was; publish and sync share it in a team"
    ),
    "rollback": Command(module="train", summary="use the version of an adapter before the one in use"),
    "team": Command(module="team", summary="one model for many people: set up an engine (vLLM), and check it"),
    "mine": Command(module="mine", summary="read repositories into a corpus, without running or fetching anything"),
    "log": Command(module="log", summary="how often the first item was the one that you wrote"),
    "nvim-path": Command(module="nvim_path", summary="the folder to add to Neovim's runtimepath"),
}

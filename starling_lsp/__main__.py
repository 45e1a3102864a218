"""The `starling` command: `starling --stdio` serves an editor, `starling COMMAND` does one thing for a person.

Reads the first word, and imports only what that command needs: editors start this at each of their starts.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Sequence

import _starling  # noqa: F401  # pyright: ignore[reportUnusedImport]  (before any module of ours is imported)
from lsp_server import __version__, serving
from starling_lsp.commands import COMMANDS, Command

EXAMPLES = """\
in an editor (docs/editors has a page for each):
  starling --stdio                            in front of each language's usual server
  starling --stdio --server NAME              in front of the preset of that name (see: starling doctor)
  starling --stdio -- COMMAND ARGS            in front of exactly that command: prefix what your editor runs now
  starling --tcp 127.0.0.1:2087               for editors that connect and bring the token that is printed
  starling --pipe /run/user/1000/starling     the same over a Unix socket that only you can open
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit code: 2 for a command line that makes no sense."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        return run(COMMANDS[words[0]], words)
    if words and words[0] == "--version":
        print(f"starling {__version__}")
        return 0
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if not words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], COMMANDS, 1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        print(f"starling: there is no command {words[0]!r}.{meant} See: starling --help", file=sys.stderr)
        return 2
    return serving.main(words, prog="starling")


def run(command: Command, words: Sequence[str]) -> int:
    """Run one command with the words of the command line, its own name first."""
    module = importlib.import_module(f"starling_lsp.commands.{command.module}")
    try:
        return module.main(list(words))
    except BrokenPipeError:  # `starling … | head`
        sys.stderr.close()
        return 1


def overview() -> str:
    """What `starling --help` prints: the server's flags, and each command with one line."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = serving.parser("starling")
    parser.usage = "starling --stdio [SETTINGS] [-- COMMAND ...]\n       starling COMMAND [ARGUMENTS]"
    parser.description = "A language server in front of your language server: the completion you want comes first."
    parser.epilog = f"commands (each has --help):\n{commands}\n\n{EXAMPLES}\n{serving.ABOUT}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser.format_help().rstrip()


if __name__ == "__main__":
    sys.exit(main())

"""python -m lsp_server: the server, and what a person asks of it from a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Editors start servers inside the workspace, and `-m` puts that folder first on the import path; PYTHONPATH stands before
# what is installed. Neither may choose our modules. Where Starling runs from a checkout, the checkout stays importable.
_HERE = str(Path(__file__).resolve().parent.parent)
_OUTSIDE = {Path(entry).resolve() for entry in (".", *os.environ.get("PYTHONPATH", "").split(os.pathsep))}
sys.path[:] = [entry for entry in sys.path if entry == _HERE or (entry and Path(entry).resolve() not in _OUTSIDE)]
if _HERE not in sys.path:
    sys.path.append(_HERE)

import argparse  # noqa: E402
import asyncio  # noqa: E402
import logging  # noqa: E402
from dataclasses import replace  # noqa: E402

from lsp_server import __version__  # noqa: E402
from lsp_server.settings import SETTINGS, Settings, flag, updated  # noqa: E402

EPILOG = """\
examples:
  starling --stdio                            serve an editor, in front of the language's usual server
  starling --stdio --server NAME              the same, in front of the preset of that name (see doctor)
  starling --stdio -- COMMAND ARGS            in front of exactly that command: prefix what your editor runs now
  starling --tcp 127.0.0.1:2087               serve editors that connect and bring the token that is printed
  starling --pipe /run/user/1000/starling     the same over a Unix socket that only you can open
  starling complete src/app.py:12:9           one list, before and after, with stars, p and timings
  starling doctor                             what is installed, what is missing, and what to do about it
  starling install-model                      fetch the default base model once (98 MB)

settings (the same names under the key "starling" in initializationOptions):
  ranker is 'model' (default; 'signals' until the model is loaded, or where there is none), 'signals' or 'off'.
  Nothing leaves this machine; only install-model connects anywhere.
"""


def parser() -> argparse.ArgumentParser:
    """The command line. One subcommand a job; without one it is the server."""
    main = argparse.ArgumentParser(
        prog="starling",
        description="A language server in front of your language server: the completion you want comes first.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action="version", version=f"starling {__version__}")
    how = main.add_mutually_exclusive_group()
    how.add_argument("--stdio", action="store_true", help="serve one editor on standard input and output")
    how.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        help="serve editors on a socket (':2087' means 127.0.0.1:2087); clients must send the token that is printed, "
        "or that of the environment variable STARLING_TOKEN",
    )
    how.add_argument(
        "--pipe",
        metavar="PATH",
        help="serve over a Unix socket: one that your editor listens on, or else one made here, for you alone",
    )
    main.add_argument(
        "--allow-remote",
        action="store_true",
        help="with --tcp: listen on other hosts' addresses too. Anyone who can reach the port can then try to connect, "
        "and nothing is encrypted: put a tunnel (ssh -L) before it instead where you can",
    )
    main.add_argument(
        "--feature",
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file with features of your own, as for any pygls server (docs/extending.md); may be given again",
    )
    _settings_flags(main)
    commands = main.add_subparsers(dest="job", metavar="complete | doctor | install-model")
    complete = commands.add_parser("complete", help="rank one list and show it before and after")
    complete.add_argument("where", metavar="FILE:LINE:COL", help="1-based line and column, as editors show them")
    complete.add_argument("--json", action="store_true", help="print JSON instead of a table")
    complete.add_argument("--top", type=int, default=12, help="rows to show (default 12)")
    complete.add_argument(
        "--wait", type=float, default=60.0, help="seconds to let index and model get ready (default 60)"
    )
    _settings_flags(complete)
    doctor = commands.add_parser("doctor", help="check the installation and say what to do about each gap")
    doctor.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _settings_flags(doctor)
    commands.add_parser("install-model", help="fetch, check and convert the default base model")
    return main


def _settings_flags(to: argparse.ArgumentParser) -> None:
    group = to.add_argument_group("settings")
    for name, kind in (("ranker", str), ("deadline", int), ("starLimit", int), ("starText", str), ("starIn", str), ("off", str), ("idle", int), ("server", str),
                       ("base", str), ("adapter", str)):  # fmt: skip
        group.add_argument(flag(name), dest=name, type=kind, default=argparse.SUPPRESS, metavar=name.upper(),
                           help=SETTINGS[name].allowed)  # fmt: skip
    group.add_argument(flag("logAccepted"), dest="logAccepted", action="store_true", default=argparse.SUPPRESS,
                       help="keep what you write where a list was shown, for `train --from-accepted` (it holds code)")  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    wrapped: list[str] | None = None
    if "--" in words:
        cut = words.index("--")
        words, wrapped = words[:cut], words[cut + 1 :]
    arguments = parser().parse_args(words)
    given = {name: value for name, value in vars(arguments).items() if name in SETTINGS}
    settings, problems = updated(Settings(), given, trusted=True)
    if wrapped is not None:
        if not wrapped:
            problems.append("After '--' Starling expects the command to wrap, as in: starling --stdio -- COMMAND ARGS")
        settings = replace(settings, command=tuple(wrapped))
    names = _preset_names() if settings.server else []
    for name in (part.strip() for part in settings.server.split(",")):
        if name and name not in names:
            problems.append(f"--server {name!r}: there are {', '.join(names)}.")
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    if arguments.job is not None:
        return _job(arguments, settings)
    if not arguments.stdio and not arguments.tcp and not arguments.pipe:
        parser().print_help(sys.stderr)
        return 2
    return _serve(arguments, settings)


def _serve(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve until the end, which is the end of the process: no thread that hangs in a system call keeps it."""
    from lsp_server.logs import to_stderr_and_file

    to_stderr_and_file()
    code = 1
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        code = loop.run_until_complete(_serving(arguments, settings))
    finally:
        logging.shutdown()
        os._exit(code)


async def _serving(arguments: argparse.Namespace, settings: Settings) -> int:
    from lsp_server.app import Start, serve_pipe, serve_stdio, serve_tcp
    from lsp_server.transport.sockets import ListenError

    start = Start(settings=settings, features=tuple(Path(name).absolute() for name in arguments.feature))
    missing = [str(path) for path in start.features if not path.is_file()]
    if missing:
        print(f"--feature {missing[0]}: there is no such file", file=sys.stderr)
        return 2
    if arguments.stdio:
        return await serve_stdio(start)
    host, _, port = (arguments.tcp or "").rpartition(":")
    if arguments.tcp and (not port.isdigit() or int(port) > 65535):
        print(f"--tcp {arguments.tcp!r}: give HOST:PORT, as in 127.0.0.1:2087", file=sys.stderr)
        return 2
    try:
        if arguments.pipe:
            return await serve_pipe(start, Path(arguments.pipe))
        host = host.strip("[]") or "127.0.0.1"
        return await serve_tcp(start, host, int(port), allow_remote=arguments.allow_remote)
    except ListenError as error:
        print(f"Starling can't listen: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Starling can't listen on {arguments.tcp or arguments.pipe}: {error}. Choose another.", file=sys.stderr)
        return 1


def _job(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.job == "complete":
        from lsp_server.cli.complete import run

        return run(arguments, settings)
    if arguments.job == "doctor":
        from lsp_server.cli.doctor import run as doctor

        return doctor(arguments, settings)
    from tuning.ranking.serving.model.install import main as install

    return install([])


def _preset_names() -> list[str]:
    from lsp_server.servers.presets import presets

    return list(dict.fromkeys(server.name for server in presets()))


if __name__ == "__main__":
    sys.exit(main())

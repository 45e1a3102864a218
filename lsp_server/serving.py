"""The command line of the language server: the transport, the settings, and the command to wrap."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lsp_server import __version__
from lsp_server.settings import SETTINGS, Settings, flag, updated
from tuning.ranking.serving.remote.address import folders_of

ABOUT = """\
settings (an editor sends them under the key "starling" in initializationOptions, by the same names):
  ranker is 'model' (the default; 'signals' is used until the model is loaded, or if there is none), 'signals' or 'off'.
  Nothing leaves this machine, unless you name a team's engine (remote). Apart from that, only `install-model`,
  `adapters sync` and a hub id that you give as base open a connection.
"""


def parser(prog: str) -> argparse.ArgumentParser:
    """The parser of the server's flags. `prog`: the name of the program in messages."""
    main = argparse.ArgumentParser(
        prog=prog,
        description="A language server in front of your language server: the completion you want comes first.",
        epilog=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    main.add_argument("--version", action="version", version=f"starling {__version__}")
    how = main.add_mutually_exclusive_group()
    how.add_argument("--stdio", action="store_true", help="serve one editor on standard input and output")
    how.add_argument(
        "--tcp",
        metavar="HOST:PORT",
        help="serve editors on a TCP socket (':2087' means 127.0.0.1:2087); clients must send the token that Starling prints, "
        "or the one that you set in the environment variable STARLING_TOKEN",
    )
    how.add_argument(
        "--pipe",
        metavar="PATH",
        help="serve over a Unix socket: connect to PATH if your editor listens there, else create it for you alone",
    )
    main.add_argument(
        "--allow-remote",
        action="store_true",
        help="with --tcp: allow addresses other than loopback. Anyone who can reach the port can then try to connect, "
        "and nothing is encrypted: use a tunnel (ssh -L) instead if you can",
    )
    main.add_argument(
        "--feature",
        action="append",
        default=[],
        metavar="FILE",
        help="a Python file with your own features, written as for any pygls server (docs/extending.md); repeatable",
    )
    add_settings(main)
    return main


def add_settings(to: argparse.ArgumentParser) -> None:
    """Add a flag for each setting."""
    group = to.add_argument_group("settings")
    for name, setting in SETTINGS.items():
        default: object = getattr(Settings(), setting.field)
        if isinstance(default, str | int) and not isinstance(default, bool):
            group.add_argument(flag(name), dest=name, type=type(default), default=argparse.SUPPRESS, metavar=flag(name).lstrip("-").upper(),
                               help=setting.allowed)  # fmt: skip
    group.add_argument(
        flag("rateAll"),
        dest="rateAll",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show a rating for every item, not only for those with a star",
    )
    group.add_argument(flag("logAccepted"), dest="logAccepted", action="store_true", default=argparse.SUPPRESS,
                       help="log what you write where a list was shown, for `train --from-accepted` (the log contains code)")  # fmt: skip


def main(words: Sequence[str] | None = None, *, prog: str = "python -P -m lsp_server") -> int:
    """Serve. Returns the exit code: 2 if the command line is wrong."""
    words, wrapped = split(sys.argv[1:] if words is None else words)
    arguments = parser(prog).parse_args(words)
    settings, problems = settings_of(arguments, wrapped)
    if not (arguments.stdio or arguments.tcp or arguments.pipe):
        problems.append(f"Choose a transport: {prog} --stdio, --tcp HOST:PORT or --pipe PATH.")
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    return _serve(arguments, settings)


def split(words: Sequence[str]) -> tuple[list[str], list[str] | None]:
    """Split the command line at `--`. Returns our arguments and the command to wrap (None if there is no `--`)."""
    if "--" not in words:
        return list(words), None
    cut = list(words).index("--")
    return list(words[:cut]), list(words[cut + 1 :])


def settings_of(arguments: argparse.Namespace, wrapped: Sequence[str] | None) -> tuple[Settings, list[str]]:
    """The settings from the flags and the wrapped command, and a message for each problem."""
    given = {name: value for name, value in vars(arguments).items() if name in SETTINGS}
    if off := given.get("remoteOff"):
        given["remoteOff"] = ",".join(_anchored_folder(folder) for folder in folders_of(off))
    settings, problems = updated(Settings(), given, trusted=True)
    if wrapped is not None:
        if not wrapped:
            problems.append("After '--' give the command to wrap, as in: starling --stdio -- COMMAND ARGS")
        settings = replace(settings, command=tuple(wrapped))
    settings = replace(
        settings,
        base=_anchored_path(settings.base),
        adapter=_anchored_adapter(settings.adapter),
        remote_token_file=_anchored_path(settings.remote_token_file),
    )
    names = _preset_names() if settings.server else []
    for name in (part.strip() for part in settings.server.split(",")):
        if name and name not in names:
            problems.append(f"--server {name!r}: there is no such preset. Use one of: {', '.join(names)}.")
    return settings, problems


def _serve(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serve, then exit the process at once, so that no thread that hangs in a system call can keep it alive."""
    from lsp_server.logs import configure_logging

    configure_logging()
    code = 1
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        code = loop.run_until_complete(_serving(arguments, settings))
    except Exception:  # nothing prints it once the process has exited
        logging.getLogger(__name__).exception("Starling can't serve")
    finally:
        logging.shutdown()
        os._exit(code)


async def _serving(arguments: argparse.Namespace, settings: Settings) -> int:
    from lsp_server.app import LaunchOptions, serve_pipe, serve_stdio, serve_tcp
    from lsp_server.transport.sockets import ListenError

    options = LaunchOptions(settings=settings, features=tuple(Path(name).absolute() for name in arguments.feature))
    missing = [str(path) for path in options.features if not path.is_file()]
    if missing:
        print(f"--feature {missing[0]}: no such file", file=sys.stderr)
        return 2
    if arguments.stdio:
        return await serve_stdio(options)
    host, _, port = (arguments.tcp or "").rpartition(":")
    if arguments.tcp and (not port.isdecimal() or int(port) > 65535):
        print(f"--tcp {arguments.tcp!r}: expected HOST:PORT, such as 127.0.0.1:2087", file=sys.stderr)
        return 2
    try:
        if arguments.pipe:
            return await serve_pipe(options, Path(arguments.pipe))
        host = host.strip("[]") or "127.0.0.1"
        return await serve_tcp(options, host, int(port), allow_remote=arguments.allow_remote)
    except ListenError as error:
        print(f"Starling can't listen: {error}", file=sys.stderr)
        return 2
    except (OSError, UnicodeError) as error:  # the second: a host name with an empty or a long label
        print(
            f"Starling can't listen on {arguments.tcp or arguments.pipe}: {error}. Choose another address.",
            file=sys.stderr,
        )
        return 1


def _anchored_path(base: str) -> str:
    """A file or folder as an absolute path: the process that reads it may start elsewhere. A hub id stays."""
    path = Path(base).expanduser()
    return str(path.absolute()) if base and path.exists() else base


def _anchored_folder(folder: str) -> str:
    """A folder as an absolute path, whether it is there or not."""
    try:
        return str(Path(folder).expanduser().absolute())
    except RuntimeError:  # `~user` of no such user: it is refused as it is
        return folder


def _anchored_adapter(spec: str) -> str:
    if not spec:
        return spec
    from tuning.ranking.serving.model.adapter_spec import anchored

    return anchored(spec)


def _preset_names() -> list[str]:
    from lsp_server.servers.presets import presets

    return list(dict.fromkeys(server.name for server in presets()))

"""The wrapped servers: which is installed for which language, and how to get those that are not."""

from __future__ import annotations

from collections import defaultdict

from corpus.syntax.language import ServerPreset, languages
from lsp_server.servers.backend import find_command
from lsp_server.servers.plans import chosen_servers
from lsp_server.servers.presets import installed
from lsp_server.settings import Settings
from starling_lsp.findings import Finding

NO_SERVER = "install one of those above, or give your own command: starling --stdio -- COMMAND"


def servers(settings: Settings) -> list[Finding]:
    """A finding for each server that is installed or wanted; languages that share one share a line."""
    if settings.command:
        return [_command(settings.command)]
    wrapped = {one.server for _, chosen in chosen_servers(settings) for one in chosen if isinstance(one.server, str)}
    languages_of: dict[str, list[str]] = defaultdict(list)
    lines: dict[str, tuple[ServerPreset, str | None, str]] = {}
    for language in languages().values():
        there = {server.name: installed(server) for server in language.servers}
        served = any(there[name] for name in wrapped & set(there))
        for server in language.servers:
            if there[server.name] or server.name in wrapped:  # a language's other servers are mentioned, not listed
                languages_of[server.name].append(language.name)
                lines[server.name] = (
                    server,
                    there[server.name],
                    "" if there[server.name] or served else server.install,
                )
    found = [
        Finding(
            what=", ".join(languages_of[name]),
            found=f"{name}{'' if name in wrapped else ' is there too, but not chosen'}: {where}"
            if where
            else f"{name} is not installed",
            remedy=remedy,
            offer=True,
        )
        for name, (_, where, remedy) in lines.items()
    ]
    if not any(where for _, where, _ in lines.values()):
        found.append(Finding(what="language servers", found="none is installed", remedy=NO_SERVER, needed=True))
    return found


def _command(command: tuple[str, ...]) -> Finding:
    where = find_command(command)
    return Finding(
        what="wrapped command",
        found=where or "not found",
        remedy="" if where else f"'{command[0]}' is not on PATH: install it, or give another command",
        needed=True,
    )

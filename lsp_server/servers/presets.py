"""Presets of wrapped servers, read from the language folders."""

from __future__ import annotations

import difflib

from corpus.syntax.language import ServerPreset, languages
from lsp_server.servers.backend import find_command


class UnknownPreset(ValueError):
    """No preset has this name. Carries the names that exist."""

    def __init__(self, name: str, names: list[str]) -> None:
        near = difflib.get_close_matches(name, names, 1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        super().__init__(f"No language server is called '{name}' here.{meant} There are: {', '.join(names)}.")
        self.name, self.names = name, names


def presets() -> list[ServerPreset]:
    return [server for language in languages().values() for server in language.servers]


def by_name(name: str) -> ServerPreset:
    """Return the preset with this name. Raises UnknownPreset."""
    for server in presets():
        if server.name == name:
            return server
    raise UnknownPreset(name, [server.name for server in presets()])


def installed(server: ServerPreset) -> str | None:
    """Return the path of a preset's command, or None if it is not installed or only a placeholder is."""
    return find_command(server.command, server.check)

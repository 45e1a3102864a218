"""Which command a session wraps: the user's own, a preset by name, or the first preset of the language."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.syntax.language import ServerPreset, languages
from lsp_server.backend import find_command
from lsp_server.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Chosen:
    command: tuple[str, ...]
    install: str


class UnknownPreset(ValueError):
    """A preset's name that no language has; carries the names there are."""

    def __init__(self, name: str, names: list[str]) -> None:
        super().__init__(f"No language server is called '{name}' here. There are: {', '.join(names)}.")
        self.name, self.names = name, names


def preset(settings: Settings) -> Chosen:
    """The command to wrap. Raises UnknownPreset."""
    if settings.command:
        return Chosen(command=settings.command, install="Check the command, or name a preset with --server.")
    if settings.server:
        found = by_name(settings.server)
        return Chosen(command=found.command, install=found.install)
    first = presets()[0]
    return Chosen(command=first.command, install=first.install)


def presets() -> list[ServerPreset]:
    return [server for language in languages().values() for server in language.servers]


def by_name(name: str) -> ServerPreset:
    """The preset of that name. Raises UnknownPreset."""
    for server in presets():
        if server.name == name:
            return server
    raise UnknownPreset(name, [server.name for server in presets()])


def installed(server: ServerPreset) -> str | None:
    """Where a preset's command is, or None."""
    return find_command(server.command)

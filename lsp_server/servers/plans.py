"""Which wrapped servers a session may start, and whose documents each gets. Data in, plans out; starts nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corpus.syntax.language import Language, languages
from lsp_server.servers.placeholders import expanded
from lsp_server.servers.presets import by_name, installed
from lsp_server.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One wrapped server: what to start, and the LSP languageIds of its documents (none: it gets everything)."""

    name: str
    command: tuple[str, ...]
    install: str
    check: tuple[str, ...] = ()  # arguments with which a stand-in of its name fails
    language_ids: frozenset[str] = frozenset()
    has_placeholders: bool = False
    places: Mapping[str, int] = field(default_factory=dict[str, int])  # languageId -> place in its order of preference

    def place_in(self, language_id: str) -> int:
        return self.places.get(language_id, 0)

    def started_by(self, workspace: Path | None) -> tuple[str, ...]:
        """The command as it is started; this may make a folder that the server wants for the workspace."""
        return expanded(self.command, workspace=workspace) if self.has_placeholders else self.command


def plans(settings: Settings) -> list[Plan]:
    """The one command that the user gave, or each language's servers in order of preference. Raises UnknownPreset."""
    if settings.command:
        install = "Check the command, or name a preset with --server."
        return [Plan(name="", command=settings.command, install=install)]
    chosen = chosen_servers(settings)
    found: dict[tuple[str, ...], Plan] = {}
    for language_ids, given in chosen:
        for place, server in enumerate(given):
            plan = replace(_plan(server, language_ids), places=dict.fromkeys(language_ids, place))
            known = found.get(plan.command)  # one process for all languages that it serves
            if known is not None:
                places = {**plan.places, **known.places}
                plan = replace(known, language_ids=known.language_ids | plan.language_ids, places=places)
            found[plan.command] = plan
    return _named_apart(found.values())


def plan_for(settings: Settings, language_id: str) -> Plan | None:
    """The first server that a document of this language gets. Raises UnknownPreset."""
    fitting = (p for p in plans(settings) if not p.language_ids or language_id in p.language_ids)
    return next(fitting, None)


Server = str | Sequence[str]  # a preset's name, or a command


def chosen_servers(settings: Settings) -> list[tuple[frozenset[str], Sequence[Server]]]:
    """(languageIds, servers) by language: those of the setting `servers`, those named by `server`, else the default."""
    known = languages()
    named = [by_name(name.strip()) for name in settings.server.split(",") if name.strip()]
    found: list[tuple[frozenset[str], Sequence[Server]]] = []
    given: Mapping[str, Any] = dict(settings.servers)
    for language in known.values():
        own = given.pop(language.id, None)
        if own is None:
            own = [preset.name for preset in named if preset in language.servers] or [_default(language)]
        found.append((frozenset(language.language_ids), own))
    taken = {language_id: place for place, (ids, _) in enumerate(found) for language_id in ids}
    for language_id, servers in given.items():  # a languageId of its own, of a folder's language or of none
        if language_id in taken:
            ids, before = found[taken[language_id]]
            found[taken[language_id]] = (ids - {language_id}, before)
        found.append((frozenset((language_id,)), servers))
    return [(ids, servers) for ids, servers in found if ids and servers]


def _default(language: Language) -> str:
    """The first of a language's servers that is installed, else the first: its absence is told when it is needed."""
    able = [server for server in language.servers if not server.only_beside]
    if len(able) == 1:
        return able[0].name
    return next((server for server in able if installed(server)), able[0]).name


def _named_apart(plans: Iterable[Plan]) -> list[Plan]:
    """The plans, none of their names twice: the session calls a server by it."""
    count: Counter[str] = Counter()
    found: list[Plan] = []
    for plan in plans:
        count[plan.name] += 1
        number = count[plan.name]
        found.append(plan if number == 1 else replace(plan, name=f"{plan.name}-{number}"))
    return found


def _plan(server: Server, language_ids: frozenset[str]) -> Plan:
    if isinstance(server, str):
        preset = by_name(server)
        return Plan(
            name=preset.name,
            command=preset.command,
            install=preset.install,
            check=preset.check,
            language_ids=language_ids,
            has_placeholders=True,
        )
    command = tuple(server)
    install = "Check the setting 'servers'."
    return Plan(name=Path(command[0]).stem, command=command, install=install, language_ids=language_ids)

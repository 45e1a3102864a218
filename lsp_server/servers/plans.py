"""Plans the wrapped servers of a session: which may be started, and which documents each gets. Starts nothing."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from corpus.syntax.language import Language, ServerPreset, languages
from lsp_server.servers.placeholders import expanded
from lsp_server.servers.presets import UnknownPreset, by_name, installed
from lsp_server.settings import ServerSettings, Settings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One wrapped server: its command, and the LSP languageIds of its documents (if empty, it gets all documents).

    places: languageId to the server's place in the language's order of preference. given: what the user said of it.
    defaults: settings that count where neither the editor nor the user says otherwise. folder: of a project's own server, the
    project; such a server gets the project's documents alone.
    """

    name: str
    command: tuple[str, ...]
    install: str
    check: tuple[str, ...] = ()  # arguments that detect placeholder executables, which exit non-zero
    language_ids: frozenset[str] = frozenset()
    has_placeholders: bool = False
    places: Mapping[str, int] = field(default_factory=dict[str, int])
    given: ServerSettings = field(default_factory=lambda: ServerSettings(server=""))
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    folder: Path | None = None

    def place_in(self, language_id: str) -> int:
        return self.places.get(language_id, 0)

    def started_by(self, workspace: Path | None) -> tuple[str, ...]:
        """Return the command without placeholders. May create a folder that the server needs for the workspace."""
        return expanded(self.command, workspace=workspace) if self.has_placeholders else self.command

    def starts_in(self, workspace: Path | None) -> Path | None:
        """Return the folder in which it starts: `cwd` (relative to the workspace), else its project, else the workspace."""
        above = self.folder or workspace
        return (above or Path.cwd()) / self.given.cwd if self.given.cwd else above

    def answers(self, method: str) -> bool:
        """Whether the user's settings allow it to be asked for a method."""
        return method not in self.given.without and (not self.given.only or method in self.given.only)

    def environment(self) -> dict[str, str] | None:
        """Return its environment, or None for ours."""
        if not self.given.env:
            return None
        changed = {**os.environ, **self.given.env}
        return {name: value for name, value in changed.items() if value is not None}


def plans(settings: Settings, problems: list[str] | None = None) -> list[Plan]:
    """Plan the one command that the user gave, or each language's servers in order of preference.

    A name that no preset has is left out, and told in `problems`; a language whose servers are all left out gets its default.
    """
    if settings.command:
        install = "Check the command, or name a preset with --server."
        return [Plan(name="", command=settings.command, install=install)]
    found: dict[str, Plan] = {}
    for language_ids, given in chosen_servers(settings, problems):
        for place, server in enumerate(given):
            plan = replace(_plan(server, language_ids), places=dict.fromkeys(language_ids, place))
            key = repr((plan.command, plan.given))  # one process for all of its languages
            known = found.get(key)
            if known is not None:
                places = {**plan.places, **known.places}
                plan = replace(known, language_ids=known.language_ids | plan.language_ids, places=places)
            found[key] = plan
    return _named_apart(found.values())


def plan_for(settings: Settings, language_id: str) -> Plan | None:
    """Return the preferred server of a language."""
    fitting = [plan for plan in plans(settings) if not plan.language_ids or language_id in plan.language_ids]
    return min(fitting, key=lambda plan: plan.place_in(language_id), default=None)


def chosen_servers(
    settings: Settings, problems: list[str] | None = None
) -> list[tuple[frozenset[str], Sequence[ServerSettings]]]:
    """Return (languageIds, servers) per language: from the setting `servers`, else from `server`, else the default."""
    problems = [] if problems is None else problems
    known = languages()
    named = [preset for name in settings.server.split(",") if (preset := _preset(name.strip(), problems)) is not None]
    found: list[tuple[frozenset[str], Sequence[ServerSettings]]] = []
    given = {name: _known(servers, problems) for name, servers in settings.servers.items()}
    for language in known.values():
        own = given.pop(language.id, None)
        if own is None:
            names = [preset.name for preset in named if preset in language.servers] or [_default(language)]
            own = [ServerSettings(server=name) for name in names]
        found.append((frozenset(language.language_ids), own))
    taken = {language_id: place for place, (ids, _) in enumerate(found) for language_id in ids}
    for language_id, servers in given.items():  # the languageId may belong to a language folder or not
        if servers is None:
            continue
        if language_id in taken:
            ids, before = found[taken[language_id]]
            found[taken[language_id]] = (ids - {language_id}, before)
        found.append((frozenset((language_id,)), servers))
    return [(ids, servers) for ids, servers in found if ids and servers]


def _preset(name: str, problems: list[str]) -> ServerPreset | None:
    """Return the preset with this name, or None and a problem if there is none."""
    try:
        return by_name(name) if name else None
    except UnknownPreset as error:
        if str(error) not in problems:
            problems.append(str(error))
        return None


def _known(servers: Sequence[Any], problems: list[str]) -> list[ServerSettings] | None:
    """Return a language's servers that can be started, or None if servers were given and none can be started."""
    given = [
        msgspec.convert(server, ServerSettings) if isinstance(server, dict) else ServerSettings(server=server)
        for server in servers
    ]
    found = [one for one in given if not isinstance(one.server, str) or _preset(one.server, problems) is not None]
    return found if found or not given else None


def _default(language: Language) -> str:
    """Return the first server that is installed. If none is, return the first: the user is told when it is needed."""
    able = [server for server in language.servers if not server.only_beside]
    if len(able) == 1:
        return able[0].name
    return next((server for server in able if installed(server)), able[0]).name


def _named_apart(plans: Iterable[Plan]) -> list[Plan]:
    """Make the names of the plans unique, because the session identifies a server by its name."""
    count: Counter[str] = Counter()
    found: list[Plan] = []
    for plan in plans:
        count[plan.name] += 1
        number = count[plan.name]
        found.append(plan if number == 1 else replace(plan, name=f"{plan.name}-{number}"))
    return found


def _plan(given: ServerSettings, language_ids: frozenset[str]) -> Plan:
    if isinstance(given.server, str):
        preset = by_name(given.server)
        return Plan(
            name=preset.name,
            command=preset.command,
            install=preset.install,
            check=preset.check,
            language_ids=language_ids,
            has_placeholders=True,
            given=given,
            defaults=preset.settings,
        )
    command = tuple(given.server)
    install = "Check the setting 'servers'."
    return Plan(name=Path(command[0]).stem, command=command, install=install, language_ids=language_ids, given=given)

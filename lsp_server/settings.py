"""Settings: the command line, initializationOptions and didChangeConfiguration, to one frozen value.

One table says what each setting allows and who may set it. What starts a command or loads a model is `trusted`:
it comes from the command line or from initializationOptions, never from a workspace's configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec

from tuning.ranking.serving.remote.address import wrong_folders, wrong_url

STAR_PLACES = ("label", "detail")
RANKERS = ("off", "signals", "model")


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """One wrapped server as the setting `servers` may describe it, where its name or its command is not enough.

    server: a preset's name, or a command. initialization_options: laid over the editor's. settings: laid over what the editor
    answers to workspace/configuration, and sends with didChangeConfiguration. env: added to the environment; null takes a variable
    away. cwd: the folder it starts in. roots: names of files that mark a project; each folder with one gets a server of its own.
    only, without: LSP methods that it is asked for, or is not.
    """

    server: str | list[str]
    initialization_options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    env: dict[str, str | None] = {}
    cwd: str = ""
    roots: list[str] = []
    only: list[str] = []
    without: list[str] = []


@dataclass(frozen=True, kw_only=True)
class Settings:
    ranker: str = "model"
    deadline: int = 60  # milliseconds after the wrapped server's reply
    star_limit: int = 5
    star_text: str = "★ "
    server: str = ""  # presets' names, comma-separated; languages without one get their default
    servers: Mapping[str, Any] = field(
        default_factory=dict[str, Any]
    )  # languageId -> presets' names, commands or ServerSettings
    star_in: str = (
        "label"  # where the mark stands: in the "label", or in the "detail" for editors that filter by labels
    )
    rate_all: bool = False  # every item of a list shows its rating, not only those with a star
    off: str = ""  # languageIds, comma-separated, whose lists stay as they came
    idle: int = 900  # seconds without an open document before a wrapped server is ended, 0 for never
    command: tuple[str, ...] = ()  # wraps exactly this when not empty
    base: str = ""  # folder or hub id; "" is the default base
    adapter: str = ""  # "" is the installed one for the document's workspace, "none" is none
    remote: str = ""  # a team's engine that scores names; "" for the model on this machine
    remote_model: str = ""  # a model that it serves; "" to choose
    remote_token_file: str = ""  # "" for the environment's STARLING_REMOTE_TOKEN, if there is one
    remote_off: str = ""  # folders, comma-separated, whose documents are never sent
    log_accepted: bool = False  # keep what was written where a list was shown, for `train --from-accepted`

    def ranks(self, language_id: str) -> bool:
        """Whether lists of this language are ranked."""
        return self.ranker != "off" and language_id not in (name.strip() for name in self.off.split(","))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting: where its value goes, what it allows, and whether it needs trust. `wrong` says what is wrong with a value."""

    field: str
    allowed: str
    accepts: Callable[[Any], bool]
    trusted: bool = False
    wrong: Callable[[Any], str] = lambda value: ""


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _text(limit: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= limit


def _words(value: Any) -> bool:
    if not isinstance(value, list | tuple):
        return False
    words = cast("Sequence[object]", value)
    return bool(words) and all(isinstance(word, str) for word in words)


_Servers = dict[str, list[str | list[str] | ServerSettings]]


def _servers(value: Any) -> bool:
    """Each language's servers, by name, as a command or described; an empty list for none."""
    return not _wrong_servers(value)


def _wrong_servers(value: Any) -> str:
    try:
        given = msgspec.convert(value, _Servers)
    except msgspec.ValidationError as error:
        return str(error)
    commands = [server for servers in given.values() for server in servers if isinstance(server, list)]
    commands += [
        s.server for of in given.values() for s in of if isinstance(s, ServerSettings) and not isinstance(s.server, str)
    ]
    return "" if all(commands) else "a command is empty"


def _wrong_off(value: Any) -> str:
    return wrong_folders(value) if _text(4096)(value) else "it must be a text of at most 4096 characters"


def _wrong_engine(value: Any) -> str:
    return "it must be a text" if not isinstance(value, str) else wrong_url(value) if value else ""


SETTINGS: Mapping[str, Setting] = {
    "ranker": Setting(field="ranker", allowed="one of " + ", ".join(RANKERS), accepts=RANKERS.__contains__),
    "deadline": Setting(
        field="deadline", allowed="a whole number of milliseconds, 0 to 10000", accepts=_whole(0, 10_000)
    ),
    "starLimit": Setting(field="star_limit", allowed="a whole number, 0 to 50", accepts=_whole(0, 50)),
    "starText": Setting(field="star_text", allowed="a text of at most 8 characters", accepts=_text(8)),
    "starIn": Setting(field="star_in", allowed="one of " + ", ".join(STAR_PLACES), accepts=STAR_PLACES.__contains__),
    "rateAll": Setting(
        field="rate_all",
        allowed="true or false: every item shows its rating, not only those with a star",
        accepts=lambda value: isinstance(value, bool),
    ),
    "off": Setting(
        field="off", allowed="languageIds, comma-separated, whose lists stay as they came", accepts=_text(256)
    ),
    "idle": Setting(field="idle", allowed="a whole number of seconds, 0 (never) to 86400", accepts=_whole(0, 86_400)),
    "server": Setting(
        field="server", allowed="presets' names, comma-separated (see doctor)", accepts=_text(256), trusted=True
    ),
    "servers": Setting(
        field="servers",
        allowed="an object of languageId to a list of presets' names, commands (lists of texts) or objects with `server`"
        " and any of initializationOptions, settings, env, cwd, roots, only, without",
        accepts=_servers,
        trusted=True,
        wrong=_wrong_servers,
    ),
    "command": Setting(field="command", allowed="a non-empty list of texts", accepts=_words, trusted=True),
    "base": Setting(field="base", allowed="a folder or a hub id", accepts=_text(4096), trusted=True),
    "adapter": Setting(
        field="adapter",
        allowed="adapters, comma-separated: [LABEL=]FOLDER_OR_NAME[@WEIGHT]; or none (default: the installed one for the workspace)",
        accepts=_text(4096),
        trusted=True,
    ),
    "remote": Setting(
        field="remote",
        allowed="the https address of a team's engine (http on this machine)",
        accepts=lambda value: isinstance(value, str) and not _wrong_engine(value),
        trusted=True,
        wrong=_wrong_engine,
    ),
    "remoteModel": Setting(
        field="remote_model", allowed="the name of a model that the engine serves", accepts=_text(256), trusted=True
    ),
    "remoteTokenFile": Setting(
        field="remote_token_file", allowed="a file with the engine's token", accepts=_text(4096), trusted=True
    ),
    "remoteOff": Setting(
        field="remote_off",
        allowed="absolute folders, comma-separated, whose documents are never sent to the engine",
        accepts=lambda value: not _wrong_off(value),
        trusted=True,
        wrong=_wrong_off,
    ),
    "logAccepted": Setting(
        field="log_accepted",
        allowed="true or false: keep what you write where a list was shown, for `train --from-accepted` (it holds code)",
        accepts=lambda value: isinstance(value, bool),
        trusted=True,
    ),
}


def flag(name: str) -> str:
    """A setting's name on the command line."""
    return "--" + "".join("-" + letter.lower() if letter.isupper() else letter for letter in name)


def as_flags(settings: Settings) -> list[str]:
    """The command line that gives these settings, but for the command to wrap and servers by language."""
    flags: list[str] = []
    for name, setting in SETTINGS.items():
        value = getattr(settings, setting.field)
        if setting.field in ("command", "servers") or value == getattr(Settings(), setting.field):
            continue
        flags.append(flag(name) if value is True else f"{flag(name)}={value}")
    return flags


def updated(current: Settings, given: Any, *, trusted: bool, origin: str = "a workspace") -> tuple[Settings, list[str]]:
    """The settings with what was given laid over, and a message for each value that could not be taken.

    What needs trust is refused where there is none; `origin` says then whose settings these are.
    A bad value falls back to the default, so that a typing error never leaves an older value in force unseen. Without the folders
    of `remoteOff`, no engine is used: it would be sent their documents.
    """
    if given is None:
        return current, []
    if not isinstance(given, Mapping):
        return current, [f"Starling's settings must be an object under 'starling', not {given!r}."]
    problems: list[str] = []
    changes: dict[str, Any] = {}
    is_off_refused = False
    for name, value in cast("Mapping[str, Any]", given).items():
        setting = SETTINGS.get(name)
        if setting is None:
            problems.append(f"Starling has no setting '{name}'. It has: {', '.join(SETTINGS)}.")
        elif setting.trusted and not trusted:
            problems.append(
                f"Starling takes '{name}' from the command line, or from the editor that started it, not from {origin}."
            )
        elif value is None:
            changes[setting.field] = getattr(Settings(), setting.field)
        elif not _accepts(setting, value):
            default = getattr(Settings(), setting.field)
            changes[setting.field] = default
            wrong = setting.wrong(value)
            problems.append(
                f"Starling's setting '{name}' is {value!r}; it must be {setting.allowed}. Using {default!r}."
                + (f" ({wrong})" if wrong else "")
            )
            is_off_refused = is_off_refused or setting.field == "remote_off"
        else:
            changes[setting.field] = tuple(cast("list[object]", value)) if isinstance(value, list) else value
    if is_off_refused:
        changes["remote"] = ""
        problems.append("No team's engine is used until Starling's setting 'remoteOff' is right.")
    return replace(current, **changes), problems


def _accepts(setting: Setting, value: Any) -> bool:
    try:
        return setting.accepts(value)
    except TypeError:  # an unhashable value asked of a tuple's membership
        return False

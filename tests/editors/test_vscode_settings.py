"""The extension's settings are the server's: the same names, values and defaults, and no more trust."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from corpus.syntax.language import languages
from lsp_server import __version__
from lsp_server.settings import SETTINGS, Settings, updated

CLIENT = Path(__file__).parent.parent.parent / "vscode-client"
PACKAGE = json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))
PROPERTIES = PACKAGE["contributes"]["configuration"]["properties"]
OWN = {"mode", "python"}  # the extension's own: how it works for a language, and what starts the server
NOT_THERE = {"command", "off"}  # replaced by `servers`, and by the switches


def shown(name: str) -> dict[str, Any]:
    return PROPERTIES[f"starling.{name}"]


def test_each_setting_of_the_server_is_there_and_no_other() -> None:
    assert {name.removeprefix("starling.") for name in PROPERTIES} - OWN == set(SETTINGS) - NOT_THERE


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - NOT_THERE))
def test_default_and_bounds_are_the_servers(name: str) -> None:
    default = shown(name)["default"]
    assert default == getattr(Settings(), SETTINGS[name].field)
    for value in (
        default,
        *shown(name).get("enum", ()),
        *(shown(name)[edge] for edge in ("minimum", "maximum") if edge in shown(name)),
    ):
        assert updated(Settings(), {name: value}, trusted=True)[1] == []
    if "maximum" in shown(name):
        assert updated(Settings(), {name: shown(name)["maximum"] + 1}, trusted=True)[1]


@pytest.mark.parametrize("name", sorted(name for name in set(SETTINGS) - NOT_THERE if SETTINGS[name].trusted))
def test_what_needs_trust_no_workspace_can_set(name: str) -> None:
    assert shown(name)["scope"] == "machine"


def test_what_starts_the_server_no_workspace_can_set() -> None:
    assert shown("python")["scope"] == "machine"


def test_the_languages_are_the_servers() -> None:
    source = (CLIENT / "src" / "languages.ts").read_text(encoding="utf-8")
    ids = {word for found in re.findall(r"ids: \[(.*?)\]", source) for word in re.findall(r"'(\w+)'", found)}
    assert ids <= {language_id for language in languages().values() for language_id in language.language_ids}
    assert [language.id for language in languages().values() if not ids.intersection(language.language_ids)] == []
    assert {f"onLanguage:{language_id}" for language_id in ids} == set(PACKAGE["activationEvents"])


def test_one_version() -> None:
    assert PACKAGE["version"] == __version__


def test_each_text_has_its_key_and_each_key_its_text() -> None:
    texts = json.loads((CLIENT / "package.nls.json").read_text(encoding="utf-8"))
    keys = re.findall(r'"%([\w.]+)%"', (CLIENT / "package.json").read_text(encoding="utf-8"))
    assert sorted(keys) == sorted(texts)


def test_each_setting_that_a_workspace_could_set_is_restricted_until_it_is_trusted() -> None:
    restricted = PACKAGE["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"]
    trusted = {f"starling.{name}" for name, setting in SETTINGS.items() if setting.trusted and name not in NOT_THERE}
    assert trusted - {"starling.logAccepted"} <= set(restricted)
    assert "starling.python" in restricted

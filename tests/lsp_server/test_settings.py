"""Settings: one table, clear messages."""

from pathlib import Path

import pytest

from lsp_server.serving import parser, settings_of
from lsp_server.settings import SETTINGS, Settings, as_flags, updated


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ranker", "best", "one of off, signals, model"),
        ("ranker", ["off"], "one of"),
        ("deadline", -1, "0 to 10000"),
        ("deadline", True, "whole number"),
        ("starLimit", 99, "0 to 50"),
        ("starText", "x" * 9, "at most 8 characters"),
        ("command", [], "non-empty list"),
        ("remoteOff", "secret", "'secret' is not absolute"),
        ("remoteOff", "/srv/secret, private", "'private' is not absolute"),
        ("remoteOff", "~nobody-of-that-name/secret", "is not absolute"),
        ("remoteOff", ["/srv/secret"], "must be a text"),
    ],
)
def test_bad_value_is_named_with_what_is_allowed_and_defaults(name: str, value: object, allowed: str) -> None:
    settings, problems = updated(Settings(), {name: value}, trusted=True)
    assert settings == Settings()
    assert f"'{name}'" in problems[0]
    assert allowed in problems[0]


@pytest.mark.parametrize("first", ["remote", "remoteOff"])
def test_no_engine_is_used_where_it_is_not_known_what_to_keep_from_it(first: str) -> None:
    given = {"remote": "https://engine.example", "remoteOff": "secret"}
    settings, problems = updated(Settings(), {first: given[first], **given}, trusted=True)
    assert settings == Settings()
    assert "No team's engine is used" in problems[-1]
    current, _ = updated(Settings(), {**given, "remoteOff": "/srv/secret, ~/private"}, trusted=True)
    assert (current.remote, current.remote_off) == ("https://engine.example", "/srv/secret, ~/private")
    assert updated(current, {"remoteOff": "secret"}, trusted=True)[0].remote == ""


def test_folders_on_the_command_line_are_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--stdio", "--remote=https://engine.example", "--remote-off=~/private, secret,/srv/secret"]
    settings, problems = settings_of(parser("starling").parse_args(words), None)
    assert not problems
    assert settings.remote_off == f"{Path.home() / 'private'},{tmp_path / 'secret'},/srv/secret"


@pytest.mark.parametrize("name", ["base", "adapter", "command", "server"])
def test_what_runs_or_loads_needs_trust(name: str) -> None:
    settings, problems = updated(Settings(), {name: ["x"] if name == "command" else "x"}, trusted=False)
    assert settings == Settings()
    assert "not from a workspace" in problems[0]


def test_good_values_are_taken_and_unknown_ones_named() -> None:
    settings, problems = updated(Settings(), {"deadline": 50, "starLimit": 0, "nope": 1}, trusted=False)
    assert (settings.deadline, settings.star_limit) == (50, 0)
    assert "'nope'" in problems[0]


def test_settings_on_the_command_line_are_the_settings() -> None:
    given = Settings(
        ranker="signals",
        deadline=0,
        off="java",
        star_in="detail",
        idle=0,
        star_text="",
        adapter="team=/w/team@0.5",
        log_accepted=True,
    )
    flags = as_flags(given)
    assert "--log-accepted" in flags
    assert "--deadline=0" in flags
    read = vars(parser("starling").parse_args(["--stdio", *flags]))
    settings, problems = updated(Settings(), {name: read[name] for name in SETTINGS if name in read}, trusted=True)
    assert not problems
    assert settings == given
    assert "--log-accepted" not in as_flags(Settings())

"""Settings: one table, clear messages."""

import pytest

from lsp_server.serving import parser
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
    ],
)
def test_bad_value_is_named_with_what_is_allowed_and_defaults(name: str, value: object, allowed: str) -> None:
    settings, problems = updated(Settings(), {name: value}, trusted=True)
    assert settings == Settings()
    assert f"'{name}'" in problems[0]
    assert allowed in problems[0]


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

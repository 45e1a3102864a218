"""What a preset starts is what the tests start."""

import pytest

from lsp_server.servers.presets import presets
from tests.servers.catalog import CATALOG

# pyright is what basedpyright is made of; ruff has no completion; the others come from registries of PHP and .NET
NOT_IN_CATALOG = {"pyright", "ruff", "phpactor", "roslyn", "omnisharp"}


@pytest.mark.parametrize("preset", [preset for preset in presets() if preset.name in CATALOG], ids=lambda p: p.name)
def test_a_presets_command_is_the_one_tested(preset) -> None:
    assert preset.command == CATALOG[preset.name].command
    assert preset.install


def test_every_preset_is_in_the_catalog_or_left_out_on_purpose() -> None:
    assert {preset.name for preset in presets()} - set(CATALOG) == NOT_IN_CATALOG

"""What a preset starts is what the tests start."""

import pytest

from lsp_server.presets import presets
from tests.servers.catalog import CATALOG


@pytest.mark.parametrize("preset", [preset for preset in presets() if preset.name in CATALOG], ids=lambda p: p.name)
def test_a_presets_command_is_the_one_tested(preset) -> None:
    assert preset.command == CATALOG[preset.name].command
    assert preset.install

"""The Python scripts that the extension runs: with this Starling they say what it reads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tuning.ranking.serving import acceptance_log

SOURCES = Path(__file__).parent.parent.parent / "vscode-client" / "src"


def said(source: str, name: str) -> str:
    """What the script says that is the constant `name` of a file of the extension."""
    (script,) = re.findall(rf"const {name} =\s+'([^']+)'", (SOURCES / source).read_text("utf-8"))
    return subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True).stdout


def test_where_the_log_is() -> None:
    assert json.loads(said("asked.ts", "WHERE")) == [str(path) for path in acceptance_log.files()]

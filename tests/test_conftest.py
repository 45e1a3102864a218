"""What must not pass: a test that did not run, in any of the ways in which pytest lets it pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = ROOT / "pyproject.toml"
SKIPPED = "import pytest\n\ndef test_skipped():\n    pytest.skip('{}')\n"
PASSES = "\ndef test_passes():\n    assert True\n"
OK, FAILED, INTERRUPTED, NO_TESTS = 0, 1, 2, 5  # pytest.ExitCode


def run(folder: Path, module: str, *words: str, **environment: str) -> tuple[int, str]:
    """The exit code and output of pytest over one module, with our configuration and conftest.py."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_module.py").write_text(module)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", PYPROJECT, "--rootdir", folder, "-p", "no:cacheprovider", *words, folder],
        env={**{name: value for name, value in os.environ.items() if name != "FAIL_SKIPPED"}, **environment},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def check(folder: Path, module: str, code: int, says: str = "", *words: str, **environment: str) -> None:
    found, output = run(folder, module, *words, **environment)
    assert (found, says in output) == (code, True), output


def test_a_run_in_which_all_is_skipped_fails(tmp_path: Path) -> None:
    check(tmp_path, SKIPPED.format("nothing here"), NO_TESTS, "no test ran: all were skipped")
    check(tmp_path, SKIPPED.format("nothing here") + PASSES, OK)
    check(tmp_path, PASSES, OK, "", "--collect-only")


def test_in_ci_a_skip_fails_but_for_those_that_are_listed(tmp_path: Path) -> None:
    check(tmp_path, SKIPPED.format("no emacs") + PASSES, FAILED, "CI does not allow", FAIL_SKIPPED="1")
    check(tmp_path, SKIPPED.format("gopls is not installed: apt-get") + PASSES, OK, FAIL_SKIPPED="1")
    marked = "import pytest\n\n@pytest.mark.skip(reason='later')\ndef test_marked():\n    assert False\n"
    check(tmp_path, marked + PASSES, FAILED, "CI does not allow", FAIL_SKIPPED="1")
    module = "import pytest\n\npytest.importorskip('nowhere')\n" + PASSES
    check(tmp_path, module, INTERRUPTED, "CI does not allow", FAIL_SKIPPED="1")
    fixture = "import pytest\n\n@pytest.fixture\ndef it():\n    pytest.skip('no')\n\ndef test_it(it):\n    pass\n"
    check(tmp_path, fixture + PASSES, FAILED, "CI does not allow", FAIL_SKIPPED="1")


def test_whatever_is_logged_goes_from_one_process_to_another(tmp_path: Path) -> None:
    module = "import logging\n\ndef test_it():\n    logging.error('\\udce9')\n"
    check(tmp_path, module, OK, "1 passed", "-n", "1")


def test_an_expected_failure_that_passes_fails(tmp_path: Path) -> None:
    module = "import pytest\n\n@pytest.mark.xfail\ndef test_it():\n    assert {}\n"
    check(tmp_path, module.format(True), FAILED, "XPASS(strict)", FAIL_SKIPPED="1")
    check(tmp_path, module.format(False), OK, "", FAIL_SKIPPED="1")


def test_parameters_of_an_empty_list_fail(tmp_path: Path) -> None:
    module = "import pytest\n\n@pytest.mark.parametrize('it', [])\ndef test_it(it):\n    assert it\n"
    check(tmp_path, module + PASSES, INTERRUPTED, "Empty parameter set")


@pytest.mark.parametrize(
    "module",
    [
        "class TestIt:\n    def __init__(self):\n        self.it = 1\n\n    def test_it(self):\n        assert False\n",
        "import asyncio\n\nasync def check():\n    assert False\n\nasync def test_it():\n    check()\n",
        "async def test_it():\n    assert False\n",
        "import threading\n\ndef fail():\n    assert False\n\ndef test_it():\n"
        "    thread = threading.Thread(target=fail)\n    thread.start()\n    thread.join()\n",
        "def test_it():\n    return 1 == 2\n",
    ],
    ids=["class that is not collected", "coroutine that is not awaited", "asynchronous", "thread", "result"],
)
def test_a_failure_that_nobody_sees_fails(tmp_path: Path, module: str) -> None:
    code, output = run(tmp_path, module + PASSES)
    assert code in (FAILED, INTERRUPTED), output


def test_no_pipe_hides_an_exit_code() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert "\nSHELL := bash\n" in makefile  # sh may not know pipefail
    piped = [line for line in makefile.splitlines() if line.startswith("\t") and re.search(r"[^|]\|[^|]", line)]
    assert [line for line in piped if not line.startswith("\tset -o pipefail; ")] == []
    assert "\nset -euo pipefail\n" in (ROOT / ".ci" / "run").read_text()


BY_HAND = {
    "team": "vLLM takes 4 GB on disk and minutes to start; tests/fakes/engine.py answers as it does, in `make test`"
}


def test_ci_runs_every_marker_and_every_target_of_tests() -> None:
    markers = {
        line.split(":")[0] for line in tomllib.loads(PYPROJECT.read_text())["tool"]["pytest"]["ini_options"]["markers"]
    }
    recipes = dict(re.findall(r"^([\w-]+):.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    run_by_ci = re.findall(r"^make (\S+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    chosen = {target: re.findall(r"pytest -m (\w+)", recipe) for target, recipe in recipes.items()}
    assert {marker for target in run_by_ci for marker in chosen[target]} == markers - BY_HAND.keys()
    assert set(re.findall(r"not (\w+)", recipes["test"])) == markers  # `make test` runs what has none of them
    by_hand = {target for target in recipes if set(chosen[target]) & BY_HAND.keys()}
    assert {target for target in recipes if target.startswith(("test", "check"))} - by_hand <= set(run_by_ci)
    files = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)}
    marked = {marker: {path for path, text in files.items() if f"mark.{marker}" in text} for marker in markers}
    assert {marker for marker, paths in marked.items() if not paths} == set()
    for marker, place in re.findall(r"pytest -m (\w+) (\S+)", "".join(recipes.values())):
        assert [path for path in marked[marker] if not path.is_relative_to(ROOT / place)] == []

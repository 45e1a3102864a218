"""A preset's command as it is started: folders of packages, a private cache, and what is left out."""

import shutil
import site
import stat
import sys
from pathlib import Path

import pytest

from lsp_server.servers.placeholders import expanded

JAVA = "{package:runtime4py}/java/bin/java"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path / "ours")])
    monkeypatch.setattr(site, "ENABLE_USER_SITE", False)
    return tmp_path / "home"


def environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment with a server in it, on PATH; returns where its packages are."""
    scripts = folder / "bin"
    scripts.mkdir(parents=True)
    shutil.copy(sys.executable, scripts / "served")
    monkeypatch.setenv("PATH", str(scripts))
    packages = folder / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    return packages


def java_in(packages: Path) -> Path:
    java = packages / "runtime4py" / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch()
    return java


def test_without_placeholders_a_command_stays_as_it_is() -> None:
    assert expanded(("served", "--stdio", "{other}")) == ("served", "--stdio", "{other}")


def test_package_beside_the_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = java_in(environment(tmp_path / "venv", monkeypatch))
    java_in(tmp_path / "ours")
    assert expanded(("served", "-vm", JAVA)) == ("served", "-vm", str(java))


def test_package_behind_a_link_to_the_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = java_in(environment(tmp_path / "venv", monkeypatch))
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "served").symlink_to(tmp_path / "venv" / "bin" / "served")
    monkeypatch.setenv("PATH", str(linked))
    assert expanded(("served", "-vm", JAVA)) == ("served", "-vm", str(java))


def test_package_of_our_own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(tmp_path / "venv", monkeypatch)
    java = java_in(tmp_path / "ours")
    assert expanded(("served", "-vm", JAVA)) == ("served", "-vm", str(java))


def test_package_that_is_not_there_goes_with_its_flag() -> None:
    assert expanded(("served", "--stdio", "-vm", JAVA, "--last")) == ("served", "--stdio", "--last")
    assert expanded(("served", JAVA, "--last")) == ("served", "--last")


def test_no_package_comes_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java_in(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(str(tmp_path / "work"))
    assert expanded(("served", "-vm", JAVA)) == ("served",)


def test_cache_is_private_and_one_a_workspace(tmp_path: Path, home: Path) -> None:
    one, other = (expanded(("served", "-data", "{cache}"), workspace=tmp_path / name)[2] for name in ("one", "other"))
    assert one != other
    assert expanded(("served", "-data", "{cache}"), workspace=tmp_path / "one") == ("served", "-data", one)
    folder = Path(one)
    assert folder.is_relative_to(home)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(folder.iterdir()) == []


def test_workspace_is_the_current_folder_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert expanded(("served", "{cache}")) == expanded(("served", "{cache}"), workspace=tmp_path)


def test_cache_that_cannot_be_made_goes_with_its_flag(home: Path) -> None:
    home.write_text("a file where the folder should be")
    assert expanded(("served", "-data", "{cache}")) == ("served",)

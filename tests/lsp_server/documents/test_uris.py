"""file: URIs as editors write them, here and on Windows."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest

from lsp_server.documents import uris


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///w/a.py", "/w/a.py"),
        ("file:/w/a.py", "/w/a.py"),
        ("FILE://localhost/w/a.py", "/w/a.py"),
        ("file:///w/%C3%A9%20b/%23.py", "/w/é b/#.py"),
        ("file:///w/c#/what?.py", "/w/c#/what?.py"),
    ],
)
def test_the_path_of_a_file(uri: str, path: str) -> None:
    assert uris.path_of(uri) == Path(path)


@pytest.mark.parametrize("uri", ["untitled:Untitled-1", "vscode-notebook-cell:/w/a.py#x", "file://host/p", "", "a.py"])
def test_what_is_no_file_here_has_no_path(uri: str) -> None:
    assert uris.path_of(uri) is None


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///c%3A/p/a.py", r"c:\p\a.py"),
        ("file:///C:/p/a.py", r"C:\p\a.py"),
        ("file://server/share/p", r"\\server\share\p"),
        ("file://wsl.localhost/Ubuntu/home/u/p", r"\\wsl.localhost\Ubuntu\home\u\p"),
    ],
)
def test_the_path_of_a_file_on_windows(uri: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uris, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(uris, "Path", PureWindowsPath)
    assert str(uris.path_of(uri)) == path

"""file: URIs as editors write them, here and on Windows."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest

from lsp_server.documents import uris
from lsp_server.documents.uris import key_of, same


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


@pytest.mark.parametrize(("one", "other"), [
    ("file:///w/(a)/[b]/@c d.py", "file:///w/%28a%29/%5Bb%5D/%40c%20d.py"),
    ("file:///c%3A/w/x.py", "file:///C:/w/x.py"),
    ("file:///w/a+b/é.py", "FILE://localhost/w/a%2bb/%C3%A9.py"),
    ("vscode-notebook-cell:/a%20b.ipynb#W0", "vscode-notebook-cell:/a b.ipynb#W0"),
    ("no uri", "no uri"),
])  # fmt: skip
def test_one_document_has_one_key(one: str, other: str) -> None:
    assert key_of(one) == key_of(other)
    assert same(one, other)


@pytest.mark.parametrize(("one", "other"), [
    ("file:///w/a.py", "file:///w/A.py"),
    ("file://host/w/a.py", "file:///w/a.py"),
    ("untitled:a", "file:a"),
])  # fmt: skip
def test_other_documents_have_other_keys(one: str, other: str) -> None:
    assert not same(one, other)

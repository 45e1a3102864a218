"""Where an engine may be, and what is kept from it."""

from pathlib import Path

import pytest

from tuning.ranking.serving.remote.address import TOKEN, Remote, remote_of, wrong_url


@pytest.mark.parametrize(
    "url",
    ["https://engine.example", "https://engine.example:8443/team", "http://localhost:8000", "http://127.0.0.1:8000/v1",
     "http://[::1]:8000"],
)  # fmt: skip
def test_https_or_this_machine(url: str) -> None:
    assert wrong_url(url) == ""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://engine.example", "this machine only"),
        ("http://10.0.0.7:8000", "this machine only"),
        ("http://localhost.example", "this machine only"),
        ("http://127.0.0.1.example", "this machine only"),
        ("ftp://engine.example", "must start with https"),
        ("engine.example", "must start with https"),
        ("https://", "must start with https"),
        ("https://me:secret@engine.example", "do not belong"),
        ("https://engine.example?key=1", "must end with the path"),
        ("https://engine.example:port", "ort"),
    ],
)
def test_what_is_refused(url: str, said: str) -> None:
    assert said in wrong_url(url)


def test_the_path_of_the_interface_may_be_given() -> None:
    found = remote_of("https://engine.example/team/v1/", off="~/private, /srv/secret")
    assert found is not None
    assert (found.url, found.host, len(found.off)) == ("https://engine.example/team", "engine.example", 2)
    assert remote_of("") is None


def test_folders_that_are_kept_here(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    remote = Remote(url="https://engine.example", off=(str(tmp_path / "secret"),))
    assert remote.is_off(tmp_path / "secret" / "a.py")
    assert remote.is_off(tmp_path / "link" / "a.py")
    assert not remote.is_off(tmp_path / "secrets" / "a.py")
    assert remote.is_off(None), "a document without a path says nothing about whose it is"


def test_folders_that_are_not_there_are_named(tmp_path: Path) -> None:
    remote = Remote(url="https://engine.example", off=(str(tmp_path), str(tmp_path / "misspelt")))
    assert remote.absent() == [str(tmp_path / "misspelt")]


def test_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    assert Remote(url="https://e").token() == ""
    monkeypatch.setenv(TOKEN, "from the environment")
    assert Remote(url="https://e").token() == "from the environment"
    file = tmp_path / "token"
    file.write_text("abc\n")
    assert Remote(url="https://e", token_file=str(file)).token() == "abc"
    file.write_text("abc\nHost: elsewhere")
    with pytest.raises(ValueError, match="one line"):
        Remote(url="https://e", token_file=str(file)).token()
    file.write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        Remote(url="https://e", token_file=str(file)).token()

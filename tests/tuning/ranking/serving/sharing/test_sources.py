"""Files are taken from a folder and from a server as the index says, from nowhere else, and a token stays with its host."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from collections.abc import Generator
from pathlib import Path, PurePosixPath

import pytest

from tests.tuning.ranking.serving.sharing.publications import Server, send
from tuning.ranking.serving.model.model_store import File
from tuning.ranking.serving.sharing import sources, web
from tuning.ranking.serving.sharing.errors import EntryRefused, SharingError, SourceRefused, SourceUnreachable
from tuning.ranking.serving.sharing.publication import INDEX
from tuning.ranking.serving.sharing.sources import Folder, Hub, index_of, source_of, taken
from tuning.ranking.serving.sharing.web import Web

BODY = b"what was published" * 1000
FILE = File(size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest())
PLACE = PurePosixPath("files/0123/x.usage")


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "share"
    (folder / PLACE).parent.mkdir(parents=True)
    (folder / PLACE).write_bytes(BODY)
    (folder / INDEX).write_bytes(b"index")
    return folder


@pytest.fixture
def server(published: Path) -> Generator[Server]:
    with Server(published).running() as running:
        yield running


@pytest.fixture
def other(published: Path) -> Generator[Server]:
    """Another host, which has the same files."""
    with Server(published).running() as running:
        yield running


def take(source: sources.Source, to: Path) -> bytes:
    came: list[int] = []
    taken(source, PLACE, FILE, to / "taken", came.append)
    assert sum(came) == FILE.size
    return (to / "taken").read_bytes()


def test_a_folder_and_a_server_give_the_index_and_the_files(tmp_path: Path, published: Path, server: Server) -> None:
    for number, given in enumerate((str(published), server.address, f"{server.address}/", f"{server.address}/{INDEX}")):
        source = source_of(given)
        assert index_of(source) == b"index"
        (tmp_path / str(number)).mkdir()
        assert take(source, tmp_path / str(number)) == BODY
        assert source.name == given.removesuffix(INDEX).rstrip("/")


@pytest.mark.parametrize("kind", ["folder", "server"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BODY[:-1], "shorter than the index says"),
        (BODY + b"x", "longer"),
        (b"X" + BODY[1:], "is not what the index says"),
    ],
    ids=["short", "long", "other"],
)
def test_a_file_that_is_not_what_the_index_says_is_refused(
    tmp_path: Path, published: Path, server: Server, kind: str, body: bytes, said: str
) -> None:
    (published / PLACE).write_bytes(body)
    with pytest.raises(EntryRefused, match=said):
        take(source_of(str(published) if kind == "folder" else server.address), tmp_path)


@pytest.mark.parametrize("kind", ["folder", "server"])
def test_a_file_that_is_not_there_is_refused_and_an_index_that_is_not_there_is_no_source(
    tmp_path: Path, published: Path, server: Server, kind: str
) -> None:
    source = source_of(str(published) if kind == "folder" else server.address)
    (published / PLACE).unlink()
    (published / INDEX).unlink()
    with pytest.raises(EntryRefused, match="is not there"):
        take(source, tmp_path)
    with pytest.raises(SourceUnreachable, match="Was anything published there"):
        index_of(source)


def test_no_link_is_followed_and_nothing_but_a_file_is_read(tmp_path: Path, published: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(BODY)
    file, folder = published / PLACE, published / "files"
    file.unlink()
    file.symlink_to(secret)
    with pytest.raises(EntryRefused, match="behind a link"):
        take(Folder(published), tmp_path)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(EntryRefused, match="is no file"):
        take(Folder(published), tmp_path)
    file.unlink()
    file.write_bytes(BODY)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EntryRefused, match="behind a link"):
        take(Folder(published), tmp_path)
    (published / INDEX).unlink()
    (published / INDEX).symlink_to(secret)
    with pytest.raises(SourceUnreachable, match="behind a link"):
        index_of(Folder(published))
    (tmp_path / "link").symlink_to(published)  # the folder itself is the user's choice
    (published / INDEX).unlink()
    (published / INDEX).write_bytes(b"index")
    assert index_of(Folder(tmp_path / "link")) == b"index"


def test_a_share_that_is_not_mounted_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match=r"nowhere is not there .* Is the share mounted\?"):
        index_of(Folder(tmp_path / "nowhere"))


def test_a_huge_index_and_a_huge_file_are_not_read_to_the_end(
    tmp_path: Path, published: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "INDEX_SIZE", 10)
    (published / INDEX).write_bytes(b"x" * 11)
    for source in (Folder(published), Web(server.address)):
        with pytest.raises(SourceUnreachable, match="longer than the 10 bytes"):
            index_of(source)
    endless: list[int] = []

    def never_ends(handler: object) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        try:
            while True:
                endless.append(handler.wfile.write(b"x" * 65_536))  # type: ignore[attr-defined]
        except ConnectionError:
            return

    server.answers[f"/{PLACE}"] = server.answers[f"/{INDEX}"] = never_ends
    with pytest.raises(EntryRefused, match="longer than the index says"):
        take(Web(server.address), tmp_path)
    with pytest.raises(SourceUnreachable, match="longer than the 10 bytes"):
        index_of(Web(server.address))
    assert sum(endless) < 100_000_000


def test_a_connection_that_breaks_off_is_said(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers[f"/{PLACE}"] = lambda handler: send(handler, BODY[:100], length=len(BODY))
    with pytest.raises(SharingError, match=r"shorter than the index says|broke off"):
        take(Web(server.address), tmp_path)
    monkeypatch.setattr(web, "SECONDS", 0.2)
    server.answers[f"/{INDEX}"] = lambda handler: handler.rfile.read(1)  # silent until the client has gone
    with pytest.raises(SourceUnreachable, match="could not be reached: timed out"):
        index_of(Web(server.address))


@pytest.mark.parametrize(
    ("status", "said"), [(401, "Is the token right"), (403, "Is the token right"), (500, "500"), (429, "429")]
)
def test_a_server_that_refuses_is_said(server: Server, status: int, said: str) -> None:
    server.answers[f"/{INDEX}"] = lambda handler: send(handler, b"", status)
    with pytest.raises(SourceUnreachable, match=said):
        index_of(Web(server.address))


def test_nobody_who_answers_is_said(server: Server) -> None:
    with Server(Path("/")).running() as gone:
        address = gone.address
    with pytest.raises(SourceUnreachable, match=f"{address} could not be reached"):
        index_of(Web(address))


def test_the_token_goes_to_the_source_s_host_and_to_no_other(tmp_path: Path, server: Server, other: Server) -> None:
    source = Web(server.address, "s3cret")
    assert index_of(source) == b"index"
    assert server.asked[-1][1]["authorization"] == "Bearer s3cret"
    assert server.asked[-1][1]["cache-control"] == "no-cache"
    moved = f"{other.address}/{PLACE}"
    server.answers[f"/{PLACE}"] = lambda handler: send(handler, b"", 302, Location="/within")
    server.answers["/within"] = lambda handler: send(handler, b"", 307, Location=moved)
    assert take(source, tmp_path) == BODY  # as where large files lie in another store
    assert [headers.get("authorization") for path, headers in server.asked if path == "/within"] == ["Bearer s3cret"]
    (asked,) = other.asked
    assert "authorization" not in asked[1] and "s3cret" not in str(asked)
    other.answers[f"/{PLACE}"] = lambda handler: send(handler, b"", 302, Location=f"{server.address}/back")
    server.answers["/back"] = lambda handler: send(handler, BODY)
    (tmp_path / "taken").unlink()
    assert take(source, tmp_path) == BODY
    assert Web(server.address, "Basic YTpi")._authorization == "Basic YTpi"  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    "location",
    [
        "http://example.org/x",
        "https://127.0.0.1/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "data:,x",
        "http://[",
        "//example.org/x",
    ],
)
def test_a_redirect_leads_nowhere_else(server: Server, location: str) -> None:
    server.answers[f"/{INDEX}"] = lambda handler: send(handler, b"", 302, Location=location)
    with pytest.raises(SourceUnreachable):
        index_of(Web(server.address, "s3cret"))


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://example.org/moved", "Bearer s3cret"),
        ("https://EXAMPLE.org:443/moved", "Bearer s3cret"),
        ("https://example.org:8443/moved", None),
        ("https://files.example.org/moved", None),
        ("https://example.org.evil.org/moved", None),
    ],
)
def test_from_https_a_redirect_keeps_to_https_and_the_token_to_its_host(location: str, told: str | None) -> None:
    redirects = web._Redirects("https://example.org/team", "Bearer s3cret")  # pyright: ignore[reportPrivateUsage]
    request = urllib.request.Request("https://example.org/team/index")
    request.add_unredirected_header("Authorization", "Bearer s3cret")
    fresh = redirects.redirect_request(request, None, 302, "Found", {}, location)
    assert fresh.get_header("Authorization") == told
    for elsewhere in ("http://example.org/moved", "http://127.0.0.1/moved", "ftp://example.org/moved"):
        with pytest.raises(SourceUnreachable, match="where it is not followed"):
            redirects.redirect_request(request, None, 302, "Found", {}, elsewhere)


def test_redirects_without_an_end_are_not_followed(server: Server) -> None:
    server.answers[""] = lambda handler: send(handler, b"", 302, Location=f"{handler.path}x")
    with pytest.raises(SourceUnreachable, match="redirect error"):
        index_of(Web(server.address))
    assert len(server.asked) <= 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://example.org/team", "http is for servers of this machine alone; example.org needs https"),
        ("http://127.0.0.1.example.org/team", "needs https"),
        ("http://localhost.example.org/team", "needs https"),
        ("ftp://example.org/team", "a source is a folder, https"),
        ("file:///srv/team", "a source is a folder, https"),
        ("https:///team", "a source is a folder, https"),
        ("https://[/team", "is no address"),
        ("https://ann:s3cret@example.org/team", "a token goes into a file"),
        ("https://s3cret@example.org/team", "a token goes into a file"),
        ("https://example.org/team?token=s3cret", "a token goes into a file"),
        ("hf:team", "write hf:OWNER/NAME"),
        ("hf:../x/y", "write hf:OWNER/NAME"),
    ],
)
def test_what_is_no_source_is_said_without_what_it_holds(given: str, said: str) -> None:
    with pytest.raises(SourceRefused, match=said) as caught:
        source_of(given)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("token", ["a\nb", "a\r\nX: y", "é", "one two three", "\x1b"])
def test_a_token_is_one_line_of_ascii(token: str) -> None:
    with pytest.raises(SourceRefused, match="one line") as caught:
        Web("https://example.org", token)
    assert token not in str(caught.value)


def test_a_token_is_for_https_alone(tmp_path: Path) -> None:
    for given in (str(tmp_path), "hf:team/adapters"):
        with pytest.raises(SourceRefused, match="a token is for https addresses"):
            source_of(given, "s3cret")
    assert isinstance(source_of("hf:team/adapters"), Hub)
    assert source_of("https://example.org/team/").name == "https://example.org/team"


def test_a_proxy_hears_nothing_of_what_is_asked_of_this_machine(server: Server, other: Server) -> None:
    os.environ["http_proxy"] = os.environ["HTTP_PROXY"] = other.address
    assert index_of(Web(server.address, "s3cret")) == b"index"
    assert not other.asked

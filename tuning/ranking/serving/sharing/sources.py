"""Where a publication is followed from, and the files that are taken over from there.

    FOLDER           a folder here or on a network share: no link in it is followed
    https://HOST/…   static files; http from this machine alone
    hf:OWNER/NAME    a repository on the Hugging Face hub

Each opens files by their place beneath the index's folder. `taken` checks the bytes of each against the index.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import stat
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, final

from corpus.interpreter import missing
from tuning.ranking.serving.model.model_store import File
from tuning.ranking.serving.sharing.errors import EntryRefused, SharingError, SourceRefused, SourceUnreachable
from tuning.ranking.serving.sharing.publication import INDEX, INDEX_SIZE
from tuning.ranking.serving.sharing.web import Web

CHUNK = 1 << 18
HUB = re.compile(r"hf:(\w[\w.-]*/\w[\w.-]*)")

Advance = Callable[[int], object]  # bytes that came


class Stream(Protocol):
    def read(self, most: int, /) -> bytes: ...


class Source(Protocol):
    @property
    def name(self) -> str:
        """How it is shown, and what an installed card says; no secret is in it."""
        ...

    def opened(self, place: PurePosixPath, most: int) -> contextlib.AbstractContextManager[Stream]:
        """A file's bytes, of which at most `most` are of use. Raises EntryRefused where there is no such file, SourceUnreachable."""
        ...


def source_of(given: str, token: str = "") -> Source:
    """What a user names. Raises SourceRefused."""
    if found := HUB.fullmatch(given):
        source: Source = Hub(found[1])
    elif given.startswith("hf:"):
        raise SourceRefused(f"{given!r} is no repository on the hub: write hf:OWNER/NAME")
    elif "://" in given:
        return Web(given, token)
    else:
        source = Folder(Path(given))
    if token:
        raise SourceRefused(f"a token is for https addresses, and {given} is none")
    return source


def index_of(source: Source) -> bytes:
    """The index's bytes. Raises SourceUnreachable."""
    try:
        with source.opened(PurePosixPath(INDEX), INDEX_SIZE) as stream:
            data = b""
            while chunk := _read(stream, source):
                data += chunk
                if len(data) > INDEX_SIZE:
                    raise EntryRefused(f"{INDEX} is longer than the {INDEX_SIZE} bytes that are taken")
            return data
    except EntryRefused as error:
        raise SourceUnreachable(f"{source.name}: {error}. Was anything published there?") from error


def taken(source: Source, place: PurePosixPath, file: File, to: Path, advance: Advance) -> None:
    """Copy a file of a publication, if it is what the index says. Raises EntryRefused, SourceUnreachable, OSError."""
    state, have = hashlib.sha256(), 0
    with source.opened(place, file.size) as stream, to.open("xb") as out:
        while chunk := _read(stream, source):
            have += len(chunk)
            if have > file.size:
                break
            state.update(chunk)
            out.write(chunk)
            advance(len(chunk))
    if have != file.size:
        raise EntryRefused(
            f"{place.name} is {'longer' if have > file.size else 'shorter'} than the index says ({file.size} bytes)"
        )
    if state.hexdigest() != file.sha256:
        raise EntryRefused(f"{place.name} is not what the index says: its SHA-256 is {state.hexdigest()[:12]}…")


def _read(stream: Stream, source: Source) -> bytes:
    try:
        return stream.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise SourceUnreachable(f"{source.name}: the connection broke off ({error or type(error).__name__})") from error


@final
class Folder:
    """A folder of this machine, or of a share that is mounted here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.expanduser().absolute()
        self.name = str(self._folder)

    @contextlib.contextmanager
    def opened(self, place: PurePosixPath, most: int) -> Generator[Stream]:
        try:
            root = self._folder.resolve(strict=True)
        except OSError as error:
            raise SourceUnreachable(f"{self.name} is not there ({error.strerror}). Is the share mounted?") from error
        file = root.joinpath(*place.parts)
        try:
            if file.resolve(strict=True) != file:
                raise EntryRefused(f"{place} is behind a link, and no link is followed")
            if not stat.S_ISREG(file.lstat().st_mode):
                raise EntryRefused(f"{place} is no file")
            if file.lstat().st_size > most:
                raise EntryRefused(f"{place.name} is longer than the {most} bytes that are taken")
            stream = file.open("rb")
        except FileNotFoundError as error:
            raise EntryRefused(f"{place} is not there") from error
        except OSError as error:
            raise SourceUnreachable(f"{self.name}: {error}") from error
        with stream:
            yield stream


@final
class Hub:
    """A model repository on the Hugging Face hub, by `huggingface_hub`: its token, its endpoint and its offline mode count."""

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self.name = f"hf:{repository}"

    @contextlib.contextmanager
    def opened(self, place: PurePosixPath, most: int) -> Generator[Stream]:
        hub = _library()
        with tempfile.TemporaryDirectory(prefix="starling-hub-") as folder:
            try:
                size = hub.get_hf_file_metadata(hub.hf_hub_url(self._repository, str(place))).size
                if size is None or size > most:
                    raise EntryRefused(f"{place.name} is longer than the {most} bytes that are taken")
                with _without_bars():
                    file = Path(hub.hf_hub_download(self._repository, str(place), local_dir=folder))
            except EntryRefused:
                raise
            except Exception as error:  # of several libraries; each is said
                raise self._explained(hub, place, error) from error
            with file.open("rb") as stream:
                yield stream

    def _explained(self, hub: Any, place: PurePosixPath, error: Exception) -> SharingError:
        """What a failure of the library means."""
        errors = hub.errors
        if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
            return EntryRefused(f"{place} is not there")
        said = str(error).strip().split("\n")[0] or type(error).__name__
        return SourceUnreachable(f"{self.name} could not be reached: {said}")


@contextlib.contextmanager
def _without_bars() -> Generator[None]:
    """The library draws no bar of its own: one for all files is shown."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise SourceRefused("The hub: " + missing("huggingface_hub", extra="train")) from error
    return huggingface_hub

"""Real completion lists: a mined corpus's repositories laid out one by one, and wrapped servers asked at its sites.

Several servers at once, each over a project of its own. What was answered is kept file by file, so that a run that was
cut off goes on with the file at which it stopped. Runs nothing of a project; connects only where its dependencies were asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import msgspec

from corpus.lists.dependencies import PACKAGES, installed
from corpus.lists.list_files import Recorded, listed
from corpus.lists.positions import Position
from corpus.lists.replay import Opened, Replay
from corpus.lists.replay_rules import filled, rules_for, source_roots, written_above
from corpus.lists.workspace import unfold
from corpus.mining.limits import printable
from corpus.mining.snapshots import SourceError, failed
from corpus.mining.sources import snapshot
from corpus.syntax.candidate import Candidate, matches
from corpus.syntax.language import Language, languages
from lsp_server.servers import presets
from lsp_server.servers.backend import BackendError, find_command
from lsp_server.servers.placeholders import expanded

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A file of a project and the positions in it that are to be asked for."""

    path: str
    language: str
    data: bytes
    positions: Sequence[Position]
    parent: bytes | None = None  # the file that the positions' tails are offsets of, where another
    written: str = ""


@dataclass(frozen=True, kw_only=True)
class Project:
    """One repository at one revision, and what is to be asked of one server over it."""

    name: str
    revision: str
    place: str  # where it is on disk: what `corpus.mining.sources.snapshot` takes
    server: str  # a preset's name
    files: Sequence[Asked]
    command: tuple[str, ...] = ()  # what to ask instead of the preset's own command, by the preset's rules

    @property
    def key(self) -> str:
        """What its answers are kept by."""
        asked = [[file.path, file.written, *(msgspec.to_builtins(p) for p in file.positions)] for file in self.files]
        content = msgspec.json.encode([self.name, self.revision, self.server, *self.command, asked])
        return hashlib.sha256(content).hexdigest()[:20]

    @property
    def count(self) -> int:
        return sum(len(file.positions) for file in self.files)


@dataclass(kw_only=True)
class Tally:
    """What a run has come to. Seconds are sums over servers."""

    projects: int = 0
    positions: int = 0
    answered: int = 0
    with_truth: int = 0
    waiting: float = 0.0
    total: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Add what another run came to."""
        for name in (one.name for one in fields(self)):
            before, more = getattr(self, name), getattr(other, name)
            setattr(self, name, before | more if isinstance(before, dict) else before + more)


def read_by(server: str) -> list[Language]:
    """The languages that a server (a preset's name) reads."""
    return [one for one in languages().values() if any(preset.name == server for preset in one.servers)]


def command_of(server: str, workspace: Path) -> tuple[str, ...]:
    """A server's command (of a preset's name) over sources, as its rules say; what it caches it keeps by the workspace."""
    return (*expanded(presets.by_name(server).command, workspace=workspace), *rules_for(server).arguments)


def installed_servers(chosen: Mapping[str, str]) -> dict[str, str]:
    """language -> preset's name: the chosen one, else the first whose command is here; languages without one are left out."""
    found: dict[str, str] = {}
    for id, language in languages().items():
        names = [chosen[id]] if id in chosen else [server.name for server in language.servers]
        there = next((name for name in names if presets.installed(presets.by_name(name))), None)
        if there is not None:
            found[id] = there
    return found


def record(
    projects: Sequence[Project],
    work: Path,
    *,
    jobs: int = 1,
    dependencies: bool = False,
    done: Callable[[str, int], object] = lambda name, count: None,
) -> tuple[list[Recorded], Tally]:
    """Ask for every position of every project; `done` hears of each file. Raises OSError (a full disk)."""
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    tally = Tally()
    needs = work / "needs" if dependencies else None
    asyncio.run(_all(projects, work, jobs, needs, done, tally))
    if needs is not None:
        shutil.rmtree(needs, ignore_errors=True)
    return answers(projects, work), tally


def answers(projects: Sequence[Project], work: Path) -> list[Recorded]:
    """What `work` has of the projects, in their order."""
    files = (answers_file(project, work) for project in projects)
    return [row for file in files for _, found in kept(file) for row in found]


def answers_file(project: Project, work: Path) -> Path:
    """Where in `work` a project's answers are kept, file by file."""
    return work / f"{project.key}.jsonl"


async def _all(
    projects: Sequence[Project],
    work: Path,
    jobs: int,
    needs: Path | None,
    done: Callable[[str, int], object],
    tally: Tally,
) -> None:
    """The projects in turn, `jobs` of them at once. The first error that is not one project's ends the run."""
    queue = iter(projects)

    async def worker() -> None:
        for project in queue:
            try:
                await _replayed(project, work, needs, done, tally)
            except (SourceError, BackendError) as error:
                tally.failed[f"{project.name} ({project.server})"] = printable(str(error))
                log.warning("%s: %s", project.name, error)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, jobs)):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def _replayed(
    project: Project, work: Path, needs: Path | None, done: Callable[[str, int], object], tally: Tally
) -> None:
    """One project asked from the first file that has no answers yet."""
    file = answers_file(project, work)
    await asyncio.to_thread(_mend, file)
    answered = await asyncio.to_thread(lambda: list(kept(file)))
    for path, rows in answered:
        _count(tally, rows)
        done(f"{project.name}/{path}", len(rows))
    have = {(path, rows[0].written) for path, rows in answered if rows}
    left = [asked for asked in project.files if (asked.path, asked.written) not in have]
    tally.projects += 1
    if not left:
        return
    with tempfile.TemporaryDirectory(prefix="starling-replay-") as folder:
        replay, note = await asyncio.to_thread(_laid_out, project, Path(folder), needs)
        tally.notes[project.name] = note
        try:
            for asked in left:
                opened = Opened(
                    path=asked.path,
                    data=asked.data,
                    language_id=languages()[asked.language].language_ids[0],
                    positions=asked.positions,
                    parent=asked.parent,
                )
                lists = await replay.ask(opened)
                rows = [
                    recorded(project, asked, position, found)
                    for position, found in zip(asked.positions, lists, strict=True)
                ]
                await asyncio.to_thread(_keep, file, asked.path, rows)
                _count(tally, rows)
                done(f"{project.name}/{asked.path}", len(rows))
        finally:
            await replay.stop()
            tally.waiting += replay.spent.waiting
            tally.total += replay.spent.total
            await asyncio.to_thread(_forget_cache, replay)


def _laid_out(project: Project, folder: Path, needs: Path | None) -> tuple[Replay, str]:
    """The project's files on disk with what it needs, and a server over them that is yet to start."""
    rules = rules_for(project.server)
    base = folder / "sources"
    root = _unfolded(project, base, rules.left_out)
    note = installed(rules.dependencies, root, folder, needs, rules.not_brought) if needs is not None else ""
    return set_up(project.server, root, base, project.command), note


def set_up(server: str, root: Path, base: Path, command: Sequence[str] = ()) -> Replay:
    """A server (a preset's name) over sources on disk as its rules say, yet to start; `command` is asked in place of its own.

    What the server reads above the sources is written into the folder of `base`. Raises OSError.
    """
    rules = rules_for(server)
    command = tuple(command) or command_of(server, root)
    suffixes = tuple(suffix for language in read_by(server) for suffix in language.extensions)
    roots = source_roots(root, rules.source_root, suffixes)
    written_above(rules, root, base.parent, suffixes)
    program = Path(find_command(command) or command[0])

    def fill(value: Mapping[str, object]) -> Mapping[str, object]:
        return filled(value, dependencies=base.parent / PACKAGES, source_roots=roots, server=program)

    return Replay(root=root, base=base, command=command, settings=fill(rules.settings), options=fill(rules.options))


def _unfolded(project: Project, base: Path, left_out: Collection[str]) -> Path:
    """The sources' root below `base`. Raises SourceError for whatever is wrong with them, and OSError (a full disk)."""
    try:
        return unfold(snapshot(project.place, name=project.name), base, left_out)
    except (SourceError, OSError):
        raise
    except Exception as error:
        raise failed(project.place, error) from error


def _forget_cache(replay: Replay) -> None:
    """Remove what a server kept of the project in the folder that `{cache}` in its command became."""
    for word in replay.command[1:]:
        path = Path(word)
        if path.is_absolute() and path.is_dir() and "servers" in path.parts and "starling" in path.parts:
            shutil.rmtree(path, ignore_errors=True)


def recorded(project: Project, asked: Asked, position: Position, found: Sequence[Candidate] | None) -> Recorded:
    """A position with its list as ranking sees it: what fits the typed letters, in the server's order."""
    truth = asked.data[position.start : position.end].decode("utf-8", "replace")
    typed = asked.data[position.start : position.offset].decode("utf-8", "replace").casefold()
    fitting = [candidate for candidate in found or () if candidate.name and matches(candidate.name.casefold(), typed)]
    columns = listed(fitting) if any(candidate.name == truth for candidate in fitting) else {}
    return Recorded(
        repository=project.name,
        revision=project.revision,
        written=asked.written,
        path=asked.path,
        language=asked.language,
        sha256=hashlib.sha256(asked.data).hexdigest(),
        form=position.form,
        kind=position.kind,
        start=position.start,
        end=position.end,
        offset=position.offset,
        tail=position.tail,
        truth=truth,
        server=project.server,
        offered=-1 if found is None else len(found),
        **columns,
    )


def kept(file: Path) -> Iterator[tuple[str, list[Recorded]]]:
    """The files whose answers are on disk; a line that was cut short is none."""
    if not file.is_file():
        return
    decoder = msgspec.json.Decoder(tuple[str, list[Recorded]])
    with file.open("rb") as stream:
        for line in stream:
            if line.endswith(b"\n"):
                yield decoder.decode(line)


def _keep(file: Path, path: str, rows: list[Recorded]) -> None:
    with file.open("ab") as stream:
        stream.write(msgspec.json.encode((path, rows)) + b"\n")


def _mend(file: Path) -> None:
    """Cut off what a run that was killed left of a line."""
    if file.is_file():
        with file.open("r+b") as stream:
            stream.truncate(sum(len(line) for line in stream if line.endswith(b"\n")))


def _count(tally: Tally, rows: Sequence[Recorded]) -> None:
    tally.positions += len(rows)
    tally.answered += sum(row.offered >= 0 for row in rows)
    tally.with_truth += sum(row.has_truth for row in rows)

"""The manifest of recorded lists: what was asked of whom, and how, so that they can be recorded again from the repositories.

A server's answers depend on its version and on what a registry has, so what must come out the same are the positions;
how often their lists have the truth is set side by side.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from corpus.lists.candidates import Project, Tally
from corpus.lists.choosing import projects, server_of
from corpus.lists.list_files import Recorded
from corpus.mining.mine import mine
from corpus.mining.readings import Source
from corpus.mining.shards import CorpusError, replacing
from corpus.mining.sources import at_revision
from corpus.mining.survey import Options
from corpus.syntax.language import languages

VERSION = 2


class Listed(msgspec.Struct, kw_only=True):
    """One repository as one server was asked about it."""

    name: str
    revision: str
    server: str  # a preset's name; "" for pseudo-lists
    languages: list[str]  # ids of those whose files it was asked about; empty for all
    per_repository: int  # positions that were wanted
    positions: int
    answered: int
    with_truth: int
    dependencies: str = ""  # what was brought of them


class ListsManifest(msgspec.Struct, kw_only=True):
    """What a file of lists holds. `options` are those of the corpus whose positions they are."""

    version: int = VERSION
    options: dict[str, Any]
    pseudo: bool  # no server was asked
    dependencies: bool  # were brought
    repositories: list[Listed]
    failed: dict[str, str]  # repository (server) -> why there are no lists


def counted(
    rows: Iterable[Recorded], tally: Tally, how: Callable[[str, str], tuple[Sequence[str], int]]
) -> list[Listed]:
    """What was asked of whom, and how often the list had the truth; `how`: (repository, server) -> (languages, per_repository)."""
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        one = {"positions": 1, "answered": int(row.offered >= 0), "with_truth": int(row.has_truth)}
        counts[row.repository, row.revision, row.server].update(one)
    found: list[Listed] = []
    for (name, revision, server), count in sorted(counts.items()):
        ids, per_repository = how(name, server)
        found.append(
            Listed(
                name=name,
                revision=revision,
                server=server,
                languages=sorted(ids),
                per_repository=per_repository,
                dependencies=tally.notes.get(name, ""),
                **count,
            )
        )
    return found


def write_lists_manifest(file: Path, manifest: ListsManifest) -> None:
    """Write it, whole or not at all."""
    with replacing(file) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n")


def read_lists_manifest(file: Path) -> ListsManifest | None:
    """The manifest in a file; None where it is a corpus's. Raises CorpusError."""
    try:
        found = msgspec.json.decode(file.read_bytes())
        if isinstance(found, dict) and "shards" in found:
            return None
        manifest = msgspec.convert(found, ListsManifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise CorpusError(
            file, f"is no manifest that can be read ({error}).", "Give one that `mine` or `candidates` wrote."
        ) from error
    if manifest.version != VERSION:
        raise CorpusError(file, f"is of version {manifest.version}, this Starling reads {VERSION}.", "Record it again.")
    return manifest


def asked_of(servers: Mapping[str, str], only: Collection[str]) -> dict[str, list[str]]:
    """server -> ids of the languages that it is asked about: of each the chosen one, else its first."""
    found: dict[str, list[str]] = defaultdict(list)
    for id, language in languages().items():
        if not only or id in only:
            found[server_of(language, servers)].append(id)
    return found


def chosen_again(
    manifest: ListsManifest,
    places: Mapping[str, str],
    corpus: Path,
    *,
    jobs: int,
    ray: str,
    seconds: float,
    done: Callable[[str, int], object],
) -> list[Project]:
    """Mine into `corpus` those of the manifest's repositories that `places` has (name -> where); their positions, chosen again."""
    groups: dict[tuple[str, int, tuple[str, ...]], dict[str, str]] = defaultdict(dict)
    for one in manifest.repositories:
        if one.name in places:
            place = at_revision(places[one.name], one.revision)
            groups[one.server, one.per_repository, tuple(one.languages)][one.name] = place
    sources = {name: place for group in groups.values() for name, place in group.items()}
    options = msgspec.convert(manifest.options, Options)
    wanted = [Source(place=place, name=name) for name, place in sources.items()]
    mine(wanted, corpus, options, jobs=jobs, ray=ray, seconds=seconds, done=done)
    found: list[Project] = []
    for (server, per_repository, ids), group in groups.items():
        servers = dict.fromkeys(ids, server) if server else None
        found += projects(corpus, group, per_project=per_repository, servers=servers, only=ids)
    return found

"""Which positions of a mined corpus are asked for: whole files of each repository, in an order that its name gives."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

from corpus.lists.candidates import Asked, Project
from corpus.lists.positions import Position, example, positions
from corpus.mining.shards import Row, read
from corpus.mining.sites import Site
from corpus.mining.sources import at_revision
from corpus.mining.survey import Kept
from corpus.syntax.language import Language, languages
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.site import site_at

# How many of a repository's positions at most are of a kind: the common ones would crowd out the others.
MOST = {"import": 0.1, "keyword": 0.12, "decorator": 0.06, "name": 0.4, "member": 1.0}
FEWEST = 40  # positions: a repository with fewer is not worth a server's start


def projects(
    corpus: Path,
    places: Mapping[str, str],
    *,
    per_project: int,
    servers: Mapping[str, str] | None = None,
    only: Collection[str] = (),
    parts: Collection[str] = (),
    most: int = 0,
) -> list[Project]:
    """For each repository that `places` has (name -> where it is), a project a server: some `per_project` positions.

    `servers`: language -> preset's name, for those that are not to get their first; `only`: languages' ids;
    `most`: so many projects a server, 0 for all.
    """
    rows: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in read(corpus, parts=sorted(parts)):
        if row.repository in places and row.sites and (not only or row.language in only):
            rows[row.repository, server_of(languages()[row.language], servers or {})].append(row)
    found: list[Project] = []
    taken: Counter[str] = Counter()
    for (name, server), files in rows.items():
        if most and taken[server] == most:
            continue
        generator = random.Random(name)
        generator.shuffle(files)
        asked: list[Asked] = []
        count = 0
        for row in files:
            data = row.text.encode()
            sites = [Site(start=start, end=end, kind=kind) for start, end, kind in row.sites]
            form = "name" if generator.random() < 0.25 else "line"
            found_in = positions(row.path, data, sites, turn=generator.randrange(6), form=form)
            live = Live(data, languages()[row.language])
            chosen = list(filter(None, map(live.read, found_in)))
            asked.append(Asked(path=row.path, language=row.language, data=data, positions=chosen))
            count += len(chosen)
            if count >= per_project:
                break
        if count >= min(FEWEST, per_project):
            taken[server] += 1
            found.append(
                Project(
                    name=name,
                    revision=files[0].revision,
                    place=at_revision(places[name], files[0].revision),
                    server=server,
                    files=asked,
                )
            )
    return found


def server_of(language: Language, chosen: Mapping[str, str]) -> str:
    """The preset that is asked about a language: the chosen one (by the language's id), else its first."""
    return chosen.get(language.id, language.servers[0].name)


def spread(files: Sequence[Kept], seed: str, count: int, per_file: int, *, together: bool = False) -> list[Asked]:
    """Files in an order that the seed gives, until there are `count` positions, no kind above its share of MOST.

    Positions of a file are anywhere in it, or with `together` one after another from somewhere on.
    """
    generator = random.Random(seed)
    shuffled = list(files)
    generator.shuffle(shuffled)
    kinds: Counter[str] = Counter()
    found: list[Asked] = []
    for file in shuffled:
        if kinds.total() >= count:
            break
        form = "name" if generator.random() < 0.2 else "line"
        chosen: list[Position] = []
        places = positions(file.path, file.data, file.sites, turn=generator.randrange(6), form=form)
        begin = generator.randrange(len(places)) if together and places else 0
        live = Live(file.data, languages()[file.language])
        for position in [*places[begin:], *places[:begin]] if together else generator.sample(places, len(places)):
            if len(chosen) == per_file:
                break
            if kinds[position.kind] < count * MOST[position.kind]:
                agreed = live.read(position)
                if agreed is not None and kinds[agreed.kind] < count * MOST[agreed.kind]:
                    kinds[agreed.kind] += 1
                    chosen.append(agreed)
        if chosen:
            chosen.sort(key=lambda position: position.start)
            found.append(Asked(path=file.path, language=file.language, data=file.data, positions=chosen))
    return found


def read_live(data: bytes, position: Position, parent: bytes | None = None) -> Position | None:
    """The position as what serves live reads it, or None where that sees no place for a list: a declaration, a string.

    Mining reads the whole file's tree; live there is only the text with its hole, which is what a list is asked for in.
    """
    return _agreed(position, example(data, position, parent).site.kind)


@final
class Live:
    """`read_live` of a file's positions one after another: one tree, told of each hole in turn, as an editor's is."""

    def __init__(self, data: bytes, language: Language) -> None:
        self._data, self._document = data, SyntaxDocument(data, language)

    def read(self, position: Position) -> Position | None:
        """The position as what serves live reads it."""
        self._document.edit(position.offset, position.tail, b"")
        agreed = _agreed(position, site_at(self._document, position.offset).kind)
        self._document.edit(position.offset, position.offset, self._data[position.offset : position.tail])
        return agreed


def _agreed(position: Position, kind: str) -> Position | None:
    if kind not in ("member", "name", "import"):
        return None
    if kind == "import" or position.kind == "import":
        return replace(position, kind="import") if kind == "import" else None
    return position

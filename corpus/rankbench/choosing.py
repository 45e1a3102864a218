"""Which positions of RankBench's repositories are asked for."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from corpus.candidates import Asked, Project
from corpus.choosing import read_live
from corpus.copies import PERMUTATIONS, Signatures, near_copies
from corpus.positions import Position, positions
from corpus.rankbench.origins import GIT, Bench, fetch, place_of
from corpus.rankbench.written import written
from corpus.sources import snapshot
from corpus.survey import Kept, Options, survey

EACH = 250  # positions of a repository
WRITTEN_EACH = 60  # in lines as they were written
PER_FILE = 6
# How many of a repository's positions at most are of a kind: the common ones would crowd out the others.
MOST = {"import": 0.1, "keyword": 0.12, "decorator": 0.06, "name": 0.4, "member": 1.0}


def chosen_projects(bench: Bench, against: Path | None) -> list[Project]:
    """The projects of a language: a snapshot of each origin, and the parents of the commits that are looked at."""
    known = _signatures(against) if against is not None else np.zeros((0, PERMUTATIONS), np.uint32)
    found: list[Project] = []
    for origin in bench.origins:
        fetch(origin)
        place = place_of(origin)
        opened = snapshot(place, name=origin)
        surveyed = survey(opened, Options(languages=tuple(bench.languages), sites_per_file=2 * PER_FILE))
        copies = near_copies(np.concatenate([known, surveyed.signatures]))[len(known) :]
        files = [file for file, copy in zip(surveyed.files, copies, strict=True) if not copy]
        found.append(
            Project(
                name=origin, revision=opened.revision, place=place, server=bench.server, files=_chosen(files, origin)
            )
        )
    for origin in bench.written:
        git = GIT.fullmatch(origin)
        assert git is not None, origin
        fetch(origin)
        place = place_of(origin).rpartition("@")[0]
        for parent, files in written(place, git["commit"], bench.languages, WRITTEN_EACH):
            name = f"git:{git['owner']}/{git['name']}@{parent}"
            found.append(
                Project(name=name, revision=parent, place=f"{place}@{parent}", server=bench.server, files=files)
            )
    return found


def _chosen(files: Sequence[Kept], origin: str) -> list[Asked]:
    """Files in an order that the origin's name gives, until there are EACH positions, no kind above its share."""
    generator = random.Random(origin)
    shuffled = list(files)
    generator.shuffle(shuffled)
    kinds: Counter[str] = Counter()
    found: list[Asked] = []
    for file in shuffled:
        if kinds.total() >= EACH:
            break
        form = "name" if generator.random() < 0.2 else "line"
        chosen: list[Position] = []
        places = positions(file.path, file.data, file.sites, turn=generator.randrange(6), form=form)
        for position in generator.sample(places, len(places)):
            if len(chosen) == PER_FILE:
                break
            if kinds[position.kind] < EACH * MOST[position.kind]:
                agreed = read_live(file.data, position)
                if agreed is not None and kinds[agreed.kind] < EACH * MOST[agreed.kind]:
                    kinds[agreed.kind] += 1
                    chosen.append(agreed)
        if chosen:
            chosen.sort(key=lambda position: position.start)
            found.append(Asked(path=file.path, language=file.language, data=file.data, positions=chosen))
    return found


def _signatures(corpus: Path) -> Signatures:
    """The signatures of every file that a mined corpus read, uint32 [n, PERMUTATIONS]."""
    files = sorted((corpus / "work").glob("*/signatures"))
    parts = [np.fromfile(file, np.uint32).reshape(-1, PERMUTATIONS) for file in files]
    return np.concatenate(parts) if parts else np.zeros((0, PERMUTATIONS), np.uint32)

"""Which positions of RankBench's repositories are asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from corpus.lists.candidates import Project
from corpus.lists.choosing import spread
from corpus.lists.written import written
from corpus.mining.copies import PERMUTATIONS, Signatures, near_copies
from corpus.mining.sources import snapshot
from corpus.mining.survey import Options, survey
from corpus.rankbench.origins import GIT, Bench, fetch, place_of

WRITTEN_EACH = 60  # in lines as they were written
SINCE = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
SHARE = 0.4  # of the commits since then
PER_FILE = 6


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
                name=origin,
                revision=opened.revision,
                place=place,
                server=bench.server,
                files=spread(files, origin, bench.each, PER_FILE),
            )
        )
    for origin in bench.written:
        git = GIT.fullmatch(origin)
        assert git is not None, origin
        fetch(origin)
        place = place_of(origin).rpartition("@")[0]
        for parent, files in written(place, git["commit"], bench.languages, WRITTEN_EACH, since=SINCE, share=SHARE):
            name = f"git:{git['owner']}/{git['name']}@{parent}"
            found.append(
                Project(name=name, revision=parent, place=f"{place}@{parent}", server=bench.server, files=files)
            )
    return found


def _signatures(corpus: Path) -> Signatures:
    """The signatures of every file that a mined corpus read, uint32 [n, PERMUTATIONS]."""
    files = sorted((corpus / "work").glob("*/signatures"))
    parts = [np.fromfile(file, np.uint32).reshape(-1, PERMUTATIONS) for file in files]
    return np.concatenate(parts) if parts else np.zeros((0, PERMUTATIONS), np.uint32)

"""RankBench's *new project* slice: places of files that stand alone in an empty workspace, with nothing written below the cursor.

Of each repository the FILES that come first by path, of their positions EACH at most. What is in it follows from the recorded
lists alone; a test holds it to what it was when it was defined, before anything was fitted.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from corpus.lists.list_files import Recorded

FILES, EACH = 10, 40


def new_project(rows: Iterable[Recorded]) -> list[Recorded]:
    """The slice's rows, in the order in which they were recorded."""
    found = list(rows)
    paths: dict[str, set[str]] = defaultdict(set)
    for row in found:
        paths[_project(row)].add(row.path)
    first = {name: set(sorted(own)[:FILES]) for name, own in paths.items()}
    of_project: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(found):
        if row.path in first[_project(row)]:
            of_project[_project(row)].append(place)
    chosen = [
        place for own in of_project.values() for place in sorted(own, key=lambda place: _lot(found[place]))[:EACH]
    ]
    return [found[place] for place in sorted(chosen)]


def _project(row: Recorded) -> str:
    return row.repository.partition("@")[0]


def _lot(row: Recorded) -> str:
    """What decides which of a project's positions are in: the same every time, and nothing that is known of the list."""
    place = f"{row.repository}/{row.path}/{row.written}/{row.offset}/{row.form}"
    return hashlib.sha256(place.encode()).hexdigest()

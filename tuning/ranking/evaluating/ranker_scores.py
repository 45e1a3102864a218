"""Where each ranker put the truth, by language and class."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from corpus.lists.list_files import Recorded
from tuning.ranking.evaluating.calibration import First

OVERALL = "all"


@dataclass
class Scores:
    """What the rankers made of one language's positions."""

    asked: int = 0
    positions: int = 0
    repositories: int = 0
    candidates: list[int] = field(default_factory=list)
    ranks: dict[str, dict[str, list[int]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    firsts: dict[str, list[First]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, list[First]] = field(default_factory=lambda: defaultdict(list))  # every name with any star

    def add(self, ranker: str, row: Recorded, rank: int) -> None:
        slices = [OVERALL, row.named, f"form: {row.form}"]
        for name in slices:
            self.ranks[ranker][name].append(rank)

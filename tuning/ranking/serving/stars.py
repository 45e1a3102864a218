"""What a probability is worth in stars: the same for every ranker and language.

An item with three stars is likelier than all others of its list together. How often each is right: docs/rankbench.md.
"""

from __future__ import annotations

import numpy as np

from tuning.ranking.serving.features import Floats

THRESHOLDS = (0.05, 0.2, 0.5, 0.7, 0.9)  # p at which an item has 1, 2, 3, 4, 5 stars
STARRED = 3  # stars at which an item is marked; fewer are shown only where every item's rating is wanted


def ratings(p: Floats) -> list[int]:
    """0 to 5 stars of each of n items."""
    return np.searchsorted(THRESHOLDS, p, side="right").tolist()

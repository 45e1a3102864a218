"""What other projects write in the context of a site, by the packaged usage table and a table of one's own projects.

Reads no file of the workspace.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from corpus.syntax.language import languages
from corpus.syntax.site import CompletionSite
from corpus.syntax.tokens import U32
from corpus.usage.contexts import contexts_of
from corpus.usage.table import FOLDER, Evidence, Floats, Table, TableError, evidence, table_of
from tuning.ranking.serving.index.workspace_index import IndexScores

log = logging.getLogger(__name__)

LONGEST = 30  # maximum characters of an expression in a reason
COLUMNS = ("usage_share", "usage_projects", "usage_place", "usage_chance")
NAMES = 20  # uses of bare names that count as one of a member with its receiver: they are of anything
LEAST = -12.0  # lower limit of a log probability


@final
@dataclass(frozen=True, kw_only=True)
class Usage:
    """The tables of a site's language, the packaged one first, and the site's contexts."""

    tables: Sequence[Table]
    contexts: Sequence[str]

    @classmethod
    def of(cls, site: CompletionSite, before: bytes, own: str = "") -> Usage:
        """`before`: the text before the identifier; `own`: a folder with tables of one's own projects, "" for none."""
        language = languages().get(site.language)
        if language is None:
            return NONE
        folders = [FOLDER, *([Path(own)] if own else [])]
        tables = [table for folder in folders if (table := _table(language.usage, folder)) is not None]
        return cls(tables=tables, contexts=contexts_of(site, before, language)) if tables else NONE

    def evidence(self, ids: U32) -> Evidence | None:
        """Look up n names by their ids. Returns None if there is no table."""
        return evidence(self.tables, self.contexts, ids) if self.tables else None

    def where(self, site: CompletionSite, evidence: Evidence | None) -> str:
        """Describe the context of the evidence in words; "" if it is only "any member" or "any name"."""
        kind, _, rest = (
            self.contexts[evidence.context].partition(" ") if evidence and evidence.context >= 0 else ("", "", "")
        )
        if not rest or site.receiver_is_self:  # the instance of another project has other members
            return ""
        if kind.startswith("m"):
            return f"written after `{_short(site.receiver)}.`"
        if kind.startswith("i"):
            return f"imported from `{_short(site.receiver_type)}`"
        if kind.startswith("n("):
            return f"written in `{_short(site.callee)}(…)`"
        return f"written after `{rest}`" if rest.isalpha() and len(rest) > 1 else ""


NONE = Usage(tables=(), contexts=())


def columns(
    known: Evidence | None, site: CompletionSite, index: IndexScores, fitting: NDArray[np.bool_]
) -> dict[str, Floats]:
    """float64 [n] each; 0 where nothing is known, and for names that do not fit what is typed.

    What the workspace itself has seen in this place says more: the more of it there is, the less these count. Of the
    instance's own members other projects know nothing.
    """
    found = {name: np.zeros(len(fitting)) for name in COLUMNS}
    if known is None or not fitting.any() or site.receiver_is_self:
        return found
    if site.kind == "member":
        seen = float((index.receiver_file + index.receiver_workspace)[fitting].sum())
    else:
        seen = float(index.workspace_uses[fitting].sum()) / NAMES
    counts = 1 / (1 + seen)
    chance = np.log(known.p[fitting] / known.p[fitting].sum())
    columns = (
        known.share[fitting],
        np.log1p(known.projects[fitting]),
        1 / (1 + np.searchsorted(np.sort(-chance), -chance)),
        np.maximum(chance, LEAST),
    )
    for name, values in zip(COLUMNS, columns, strict=True):
        found[name][fitting] = values * counts
    return found


@cache
def _table(group: str, folder: Path) -> Table | None:
    """Return the table of a group of languages, or None if there is none. A table that can't be read is logged, once.

    The table stays in memory: its file may not change.
    """
    try:
        return table_of(group, folder)
    except (TableError, OSError) as error:
        log.warning("no usage in other projects: %s", error)
        return None


def _short(expression: str) -> str:
    """Return the end of an expression on one line."""
    text = " ".join(expression.split())
    return text if len(text) <= LONGEST else f"…{text[-LONGEST:]}"

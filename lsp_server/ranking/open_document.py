"""An open document in the ranker: its syntax, and what was read around its cursor last."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.site import site_at
from corpus.syntax.tokens import BlockTokenizer
from lsp_server.ranking.workspace import NOTHING
from tuning.ranking.serving.index.repeats import Nearby
from tuning.ranking.serving.rank import Surroundings


@dataclass(slots=True)
class OpenDocument:
    """`path`: the end of its path, as the model reads it. `folder`: resolved; "" where the document is no file."""

    syntax: SyntaxDocument
    path: str
    folder: str
    tokenizer: BlockTokenizer = field(default_factory=BlockTokenizer)
    data: bytes = b""  # the text and the files that `around` is of
    nearby: Nearby = NOTHING
    own_usage: str = ""
    around: Surroundings | None = None

    def surroundings(self, offset: int, nearby: Nearby, own_usage: str) -> Surroundings:
        """Read the text around `offset`, unless it was just read; `nearby` are the files around it."""
        text = self.syntax.text
        is_known = self.data is text.data and self.nearby is nearby and self.own_usage == own_usage
        known = self.around if is_known else None
        if known is None or known.site.offset != offset:
            self.data, self.nearby, self.own_usage = text.data, nearby, own_usage
            site = site_at(self.syntax, offset)
            next_line = text.line_end(text.line_of(site.offset))
            before, after = text.data[: site.start], text.data[next_line:]
            known = Surroundings.of(
                site, before, after, self.tokenizer, nearby=nearby, path=self.path, own_usage=own_usage
            )
            self.around = known
        return known

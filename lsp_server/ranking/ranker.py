"""What the ranker process knows: documents' syntax, the workspace and the model; and a ranking on request.

The model works in a thread of its own; signals never wait for it. Knows no frames: `ranker_process` speaks them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np

from corpus.syntax.candidate import candidates
from corpus.syntax.language import language_for
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.queries import prepare
from corpus.syntax.site import CompletionSite
from lsp_server.documents.positions import Encoding, to_offset
from lsp_server.documents.texts import apply_changes, encoded
from lsp_server.documents.uris import path_of
from lsp_server.ranking.acceptance_log import Accepting
from lsp_server.ranking.model_choice import ModelChoice
from lsp_server.ranking.open_document import OpenDocument
from lsp_server.ranking.search_job import SearchJob, Worker
from lsp_server.ranking.workspace import Workspace
from tuning.ranking.serving import acceptance_log
from tuning.ranking.serving.blend import Blend
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, USAGE, Watched
from tuning.ranking.serving.model.prompt import Prompt, build_prompt
from tuning.ranking.serving.rank import Listing, Order, Surroundings, listing, ordered, outranked_imports, shortlist
from tuning.ranking.serving.remote.address import Remote
from tuning.ranking.serving.stars import STARRED, ratings

log = logging.getLogger(__name__)

RESERVE = 0.006  # seconds of the deadline kept for blending and the way back, which take 2 to 3 ms
READ_AFTER = 0.02  # seconds without a keystroke before the model reads on
LOOK_AFTER = 0.02  # seconds without another request about a place before the model reads what stands before it
DELETED = 3  # FileChangeType of LSP


class _Blended(NamedTuple):
    """An order with a model's scores, whether all of them were known, and by which worker."""

    order: Order
    complete: bool
    by: str


class Ranker:
    """Everything known of the workspace, and a ranking on request. Used from one event loop."""

    def __init__(
        self,
        *,
        base: str,
        adapter: str,
        cache_dir: Path | None,
        log_accepted: bool = False,
        remote: Remote | None = None,
    ) -> None:
        self.encoding: Encoding = "utf-16"
        self.mode = "signals"
        self.blend = Blend.load()
        self.documents: dict[str, OpenDocument] = {}
        self.workspace = Workspace(cache_dir)
        self.models: ModelChoice | None = None  # after a model was asked for
        self._base, self._adapter, self._remote = base, adapter, remote
        self._jobs: dict[str, SearchJob] = {}
        self._reading: asyncio.TimerHandle | None = None
        self._adapters, self._tables = Watched(ADAPTERS), Watched(USAGE)
        self._last: dict[str, Any] | None = None  # of the last ranking: how it was made
        self._accepting = (
            Accepting(lambda entry: self.workspace.later(acceptance_log.keep, entry)) if log_accepted else None
        )

    # Documents

    def open(self, params: dict[str, Any]) -> None:
        """Where the workspace is; the index is built from here on, in the background."""
        self.encoding = params["encoding"]
        self.workspace.open(params["roots"])

    def did_change_folders(self, params: dict[str, Any]) -> None:
        event: dict[str, Any] = params.get("event") or {}
        gone, come = ([str(folder["uri"]) for folder in event.get(part) or ()] for part in ("removed", "added"))
        self.workspace.change_folders(gone, come)

    def did_open(self, params: dict[str, Any]) -> None:
        item = params["textDocument"]
        uri = item["uri"]
        language = language_for(item.get("languageId", ""), uri)
        if language is not None:
            prepare(language)
        folder = self.workspace.opened(uri)
        syntax = SyntaxDocument(encoded(item.get("text", "")), language)
        self.documents[uri] = OpenDocument(syntax, _short(uri), folder)

    def did_change(self, params: dict[str, Any]) -> None:
        uri = params["textDocument"]["uri"]
        document = self.documents.get(uri)
        if document is None:
            return
        end = apply_changes(document.syntax.text, params, self.encoding, document.syntax.edit)
        self._read_later(READ_AFTER, uri, end)

    def did_close(self, params: dict[str, Any]) -> None:
        uri = params["textDocument"]["uri"]
        document = self.documents.pop(uri, None)
        if self._accepting is not None and document is not None:
            self._accepting.settle(uri, document.syntax.text.data)
        self._jobs.pop(uri, None)
        self.workspace.closed(uri)

    def did_change_files(self, params: dict[str, Any]) -> None:
        changes = params.get("changes", ())
        deleted = {change["uri"] for change in changes if change.get("type") == DELETED}
        self.workspace.changed([change["uri"] for change in changes], deleted)

    def configure(self, params: dict[str, Any]) -> None:
        """Which ranker; the model is loaded when it is first asked for."""
        self.mode = params["ranker"]
        deadline = params.get("deadline", 0) / 1000
        if self.mode == "model" and self.models is None:
            self.models = ModelChoice(self._base, self._remote)
            self.models.start(self._adapter or next((self._adapter_for(uri) for uri in self.documents), ""), deadline)
        elif self.models is not None:
            self.models.set_deadline(deadline)

    def _worker(self, uri: str) -> Worker | None:
        """Who scores this document's names now; None where signals are alone."""
        return self.models.for_document(path_of(uri)) if self.models is not None and self.mode == "model" else None

    # Ranking

    def prepare(self, params: dict[str, Any]) -> None:
        """A completion was asked for: while the wrapped server works, the text is read, by the model too."""
        around, uri = self._surroundings(params), params["textDocument"]["uri"]
        worker = self._worker(uri)
        if around is not None and worker is not None:
            worker.advance(uri, self._prompt(uri, around.site), self._adapter_for(uri))

    def look(self, params: dict[str, Any]) -> None:
        """The editor asked something else about a place, where the cursor or the mouse is: a list may be asked for there next."""
        document = self.documents.get(params["textDocument"]["uri"])
        if document is not None:
            position = params["position"]
            offset = to_offset(document.syntax.text, position["line"], position["character"], self.encoding)
            self._read_later(LOOK_AFTER, params["textDocument"]["uri"], offset, ahead=True)

    def _read_later(self, seconds: float, uri: str, offset: int, *, ahead: bool = False) -> None:
        """The model reads up to here, unless something else happens before."""
        if self._worker(uri) is None:
            return
        if self._reading is not None:
            self._reading.cancel()
        self._reading = asyncio.get_running_loop().call_later(seconds, self._read, uri, offset, ahead)

    def _read(self, uri: str, offset: int, ahead: bool) -> None:
        """The author typed up to here, or looks here, and paused: the model reads it before a list is asked for."""
        document, worker = self.documents.get(uri), self._worker(uri)
        if document is not None and worker is not None and offset <= len(document.syntax.text.data):
            site = self._around(uri, offset).site
            worker.advance(uri, self._prompt(uri, site), self._adapter_for(uri), ahead=ahead)

    def _adapter_for(self, uri: str) -> str:
        """The adapters that the user named (or "none"), or else the installed one for the document's workspace; "" for none."""
        return self._adapter or self._installed_for(uri, self._adapters)

    def _installed_for(self, uri: str, watched: Watched) -> str:
        """The folder of what is installed for a document; "" for none."""
        document = self.documents[uri]
        language = document.syntax.language
        return watched.folder_for(Path(document.folder), language.id) if language and document.folder else ""

    async def rank(
        self, params: dict[str, Any], result: bytes, early: Callable[[dict[str, Any]], None], started: float
    ) -> dict[str, Any] | None:
        """Rank a raw completion result within `deadline` milliseconds from `started` (monotonic seconds). None where
        there is nothing to go by.

        `early` gets the order by signals before the model is waited for: on a busy machine the last word may be late.
        """
        around = self._surroundings(params)
        found = candidates(result)
        index = self.workspace.index
        if around is None or not found or index is None or self.mode == "off":
            return None
        uri = params["textDocument"]["uri"]
        known = listing(around, found, index)
        self._note_shown(uri, known)
        order, used, complete = ordered(known, self.blend), "signals", True
        worker, adapter = self._worker(uri), self._adapter_for(uri)
        if worker is not None:
            early(self._reply(known, order, params["starLimit"], used, False, started))
            until = started + params["deadline"] / 1000 - RESERVE
            blended = await self._with_model(worker, uri, known, until)
            complete = blended is not None and blended.complete
            if blended is not None:
                order, used = blended.order, blended.by
        reply = self._reply(known, order, params["starLimit"], used, complete, started)
        if self._accepting is not None:
            names = dict.fromkeys(known.candidates[int(index)].name for index in order.order)
            self._accepting.ordered(uri, known.site.start, list(names))
        self._last = {"items": len(found), **{name: reply[name] for name in ("ranker", "complete", "milliseconds")}}
        self._last["adapter"] = adapter
        return reply

    def _note_shown(self, uri: str, known: Listing) -> None:
        """Where the user wants a log of what was written: the list that it will have been chosen from."""
        site, document = known.site, self.documents[uri]
        language, path = document.syntax.language, path_of(uri)
        if self._accepting is None or language is None or path is None or not self._accepting.is_new(uri, site.start):
            return
        chosen = shortlist(known, self.blend)
        odds = self.blend.scores(known.columns[chosen], site.kind)
        best: dict[str, float] = {}  # of overloads the best, which comes first
        places_chosen: list[int] = chosen.tolist()
        scores: list[float] = odds.tolist()
        for place, score in zip(places_chosen, scores, strict=True):
            best.setdefault(known.candidates[place].name, round(score, 4))
        prompt = self._prompt(uri, site)
        entry = acceptance_log.Accepted(
            path=str(Path(document.folder, path.name)),
            language=language.id,
            kind=site.kind,
            text=prompt.text,
            tail=prompt.tail,
            names=list(best),
            beside=list(best.values()),
            truth="",
        )
        places: dict[str, int] = {}
        for candidate in sorted(known.candidates, key=lambda one: one.place):
            places.setdefault(candidate.name, candidate.place)
        self._accepting.shown(uri, document.syntax.text.data, site.start, entry, places)

    async def _with_model(self, worker: Worker, uri: str, known: Listing, until: float) -> _Blended | None:
        """The order with a model's scores, as far as they are known when `until` (monotonic seconds) comes; None if none are."""
        assert self.models is not None
        chosen = shortlist(known, self.blend)
        if not len(chosen):
            return None
        prompt = self._prompt(uri, known.site)
        names = [known.candidates[int(i)].name for i in chosen]
        job = self._job(worker, uri, prompt, names)
        with job.waiting():
            had_time = until > time.monotonic()
            worker.search(job)
            await job.wait((until - time.monotonic()) * self.models.patience(worker))
            other = self.models.beside(worker) if job.scores is None else None
            instead: SearchJob | None = None
            if other is not None:
                instead = SearchJob(key=uri, prompt=prompt, names=job.names, known={}, adapter=job.adapter)
                other.search(instead)
            likely = await job.wait(until - time.monotonic())
            if likely is not None or had_time:  # otherwise it was not given a chance
                self.models.answered(worker, in_time=likely is not None)
            if likely is None and other is not None and instead is not None:
                worker, job, likely = other, instead, await instead.wait(0)
        if likely is None:
            return None
        place = {name: i for i, name in enumerate(job.names)}
        model = np.array([likely[place[name]] for name in names])
        return _Blended(ordered(known, self.blend, model, chosen), job.finished, worker.name)

    def _job(self, worker: Worker, uri: str, prompt: Prompt, names: Sequence[str]) -> SearchJob:
        """The document's last job where it answers for these names too, else a new one that goes on from it."""
        adapter = self._adapter_for(uri)
        job = self._jobs.get(uri)
        if job is not None and (job.prompt != prompt or job.served_by not in (None, worker.serving(adapter))):
            job = None
        if job is None or not job.answers(names):
            scores = job.exact_scores() if job is not None else {}
            job = SearchJob(key=uri, prompt=prompt, names=tuple(dict.fromkeys(names)), known=scores, adapter=adapter)
            self._jobs[uri] = job
        return job

    def _reply(
        self, known: Listing, order: Order, limit: int, used: str, complete: bool, started: float
    ) -> dict[str, Any]:
        rated = ratings(order.p)
        first = set(order.order[:limit].tolist())
        stars = [each if each >= STARRED and place in first else 0 for place, each in enumerate(rated)]
        return {
            "order": order.order.tolist(),
            "p": np.round(order.p, 4).tolist(),
            "places": [candidate.place for candidate in known.candidates],
            "uses_here": known.index.receiver_file.tolist(),
            "uses_workspace": known.index.receiver_workspace.tolist(),
            "projects": known.usage.projects.tolist() if known.usage is not None else [],
            "written": known.written,
            "stars": stars,
            "ratings": rated,
            "unequal": outranked_imports(known, order),
            "ranker": used,
            "complete": complete,
            "milliseconds": round((time.monotonic() - started) * 1000, 2),
        }

    def _surroundings(self, params: dict[str, Any]) -> Surroundings | None:
        uri = params["textDocument"]["uri"]
        document = self.documents.get(uri)
        if document is None:
            return None
        position = params["position"]
        offset = to_offset(document.syntax.text, position["line"], position["character"], self.encoding)
        return self._around(uri, offset)

    def _around(self, uri: str, offset: int) -> Surroundings:
        document = self.documents[uri]
        nearby = self.workspace.nearby(document.folder)
        return document.surroundings(offset, nearby, self._installed_for(uri, self._tables))

    def _prompt(self, uri: str, site: CompletionSite) -> Prompt:
        document = self.documents[uri].syntax
        data = document.text.data
        language = document.language
        return build_prompt(
            path=_short(uri),
            before=bytes(data[: site.start]).decode("utf-8", "replace"),
            imports=(),
            enclosing=site.enclosing_signatures,
            line_comment=language.line_comment if language is not None else "",
        )

    def status(self) -> dict[str, Any]:
        """What is ready, for `complete`, `doctor` and tests."""
        index = self.workspace.index
        return {
            "index": index is not None and index.ready,
            "files": (index.files if index is not None else 0) + len(self.documents),  # open ones are not in the index
            **(self.models.status() if self.models is not None else {"model": "off", "reason": "", "remote": None}),
            "last": self._last,
        }

    def close(self) -> None:
        for uri in list(self.documents):
            self.did_close({"textDocument": {"uri": uri}})
        self.workspace.close(finish=self._accepting is not None)


def _short(uri: str) -> str:
    """The end of a document's path: what its name says, without what says who owns it."""
    return "/".join(unquote(urlsplit(uri).path).split("/")[-3:])

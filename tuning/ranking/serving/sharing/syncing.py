"""Follow a publication: look at its index, decide about each entry, fetch what is new, check it, install it as a new version.

An entry is installed where its name is not used yet, or where the version that is used came from the same source. So a source never
takes the place of what the user trained, of what another source gave, or of a step back: those are kept, until the user says
otherwise. What is refused or can't be reached changes nothing.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from tuning.errors import AdapterError
from tuning.ranking.serving.model import adapter_registry, model_store
from tuning.ranking.serving.model.adapter_merging import with_adapters
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, AdapterRegistryError, Card, Installed
from tuning.ranking.serving.model.adapter_spec import Wanted, shipped
from tuning.ranking.serving.model.errors import ModelUnsupported, NeedsEngine, ScorerError
from tuning.ranking.serving.model.file_lock import alone
from tuning.ranking.serving.model.llama_weights import weights_of
from tuning.ranking.serving.model.loading import has_torch
from tuning.ranking.serving.sharing.checkouts import Checkouts
from tuning.ranking.serving.sharing.contents import check, digest_of, file_of, shared
from tuning.ranking.serving.sharing.errors import EntryRefused
from tuning.ranking.serving.sharing.publication import Entry, base_mark, folded, read_index
from tuning.ranking.serving.sharing.sources import Advance, Source, index_of, taken

MOST = 4 << 30  # bytes that one run fetches

Watch = Callable[[str, int], contextlib.AbstractContextManager[Advance]]  # what is fetched, and its bytes


class Change(StrEnum):
    INSTALLED = "installed"
    DESCRIBED = "updated"  # the same files; when they were made, or for which folders, is new
    CURRENT = "up to date"
    KEPT = "kept"
    SKIPPED = "not for here"  # the user has none of its repositories
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What the user wants of a source."""

    checkouts: Checkouts = field(default_factory=Checkouts)
    only: Collection[str] = ()  # names; none: all
    base: str = ""  # the base that the user's servers are started with; "" for the default one
    replace: bool = False  # also what the user trained, or went back from
    dry_run: bool = False  # nothing is fetched but the index, and nothing is written


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one entry, or of one that could not even be read (`kind` is "" then)."""

    name: str
    change: Change
    detail: str = ""
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    change: Change
    detail: str
    card: Card
    used: Installed | None


def follow(source: Source, wishes: Wishes, watch: Watch, waiting: Callable[[], object]) -> Iterator[Outcome]:
    """Bring what is installed up to a source, entry by entry. One process at a time: `waiting` is called where another does so.

    Raises SourceUnreachable, SourceRefused, OSError; what was done before stays.
    """
    mark = base_mark(wishes.base)
    if wishes.dry_run:
        yield from _follow(source, wishes, mark, None, watch)
        return
    folder = adapter_registry.home(ADAPTERS).parent / "sync"
    with alone(folder / "lock", waiting):
        staging = folder / "new"
        try:
            yield from _follow(source, wishes, mark, staging, watch)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _follow(source: Source, wishes: Wishes, mark: str, staging: Path | None, watch: Watch) -> Iterator[Outcome]:
    entries, refused = read_index(index_of(source), source.name)
    for name, why in refused:
        if not wishes.only or name in wishes.only:
            yield Outcome(name=name, change=Change.REFUSED, detail=str(why))
    there = {entry.name for entry in entries} | {name for name, _ in refused}
    for name in sorted(set(wishes.only) - there):
        yield Outcome(name=name, change=Change.REFUSED, detail="it is not published there")
    left = MOST
    for entry in entries:
        if wishes.only and entry.name not in wishes.only:
            continue
        try:
            plan = _plan(entry, source, wishes, mark)
            if staging is not None and plan.change is Change.INSTALLED:
                left -= entry.size
                if left < 0:
                    raise EntryRefused(f"more than {MOST >> 30} GB in one run; name some with --name")
                _fetch(entry, source, staging, watch)
                plan = _plan(entry, source, wishes, mark)  # the user may have trained or gone back meanwhile
            yield _carried_out(entry, plan, staging)
        except EntryRefused as error:
            yield Outcome(kind=entry.kind, name=entry.name, change=Change.REFUSED, detail=str(error))


def _plan(entry: Entry, source: Source, wishes: Wishes, mark: str) -> _Plan:
    """What to do about an entry. Raises EntryRefused."""
    _check_taken(entry)
    is_adapter = entry.kind == ADAPTERS
    if is_adapter and entry.base != mark:
        raise EntryRefused("it is for another base than this one; name the base that your servers use with --base")
    if is_adapter and entry.beneath not in ("", shipped(wishes.base)):
        raise EntryRefused(
            "it was trained on the adapter of another version of Starling: have the same version as who trains it"
        )
    used = _used(entry)
    folders = wishes.checkouts.of(entry.repositories)
    card = Card(
        base=wishes.base if is_adapter else "",
        beneath=entry.beneath,
        workspaces=folders or (),
        languages=entry.languages,
        figures=entry.figures,
        made=entry.made,
        source=source.name,
        digest=entry.digest,
    )
    if used is not None and _digest(used, entry.kind) == entry.digest:
        if used.card.source not in ("", source.name) and not wishes.replace:
            return _Plan(change=Change.CURRENT, detail=f"from {used.card.source}", card=used.card, used=used)
        if folders is None:
            card = msgspec.structs.replace(card, workspaces=used.card.workspaces)
        same = msgspec.json.encode(card) == msgspec.json.encode(used.card)
        change = Change.CURRENT if same else Change.DESCRIBED
        return _Plan(change=change, detail=f"the same files, for {_where(card)}", card=card, used=used)
    if not wishes.replace and (own := _kept(entry, source, used)):
        return _Plan(change=Change.KEPT, detail=own, card=card, used=used)
    if folders is None:
        names = f"it is for {', '.join(entry.repositories)}"
        if wishes.checkouts.are_given:
            return _Plan(change=Change.SKIPPED, detail=f"{names}: no such folder here", card=card, used=used)
        raise EntryRefused(f"{names}: say where these folders are with --workspace FOLDER, or --everywhere")
    return _Plan(change=Change.INSTALLED, detail=f"for {_where(card)}", card=card, used=used)


def _check_taken(entry: Entry) -> None:
    """Raises EntryRefused where another name that is installed would be one folder with this one on some systems."""
    home = adapter_registry.home(entry.kind)
    for folder in home.iterdir() if home.is_dir() else ():
        if folder.name != entry.name and folded(folder.name) == folded(entry.name):
            raise EntryRefused(f"'{folder.name}' is installed, which differs from it in case alone")


def _kept(entry: Entry, source: Source, used: Installed | None) -> str:
    """Why what is there is not replaced; "" where it may be."""
    if any(card.digest == entry.digest for card in adapter_registry.rolled_back(entry.name, entry.kind)):
        return "you went back from this version; the next one is installed again (or: --replace)"
    if used is None or used.card.source == source.name:
        return ""
    whose = f"came from {used.card.source}" if used.card.source else f"was trained here ({used.card.made or 'no date'})"
    return f"what you use {whose}; --replace takes the source's instead"


def _used(entry: Entry) -> Installed | None:
    try:
        return adapter_registry.used(entry.name, entry.kind)
    except AdapterRegistryError:  # not readable, so no server uses it
        return None


def _digest(installed: Installed, kind: str) -> str:
    """Of an installed version's files, as they are published."""
    if installed.card.digest:
        return installed.card.digest
    try:
        return digest_of({name: file_of(content) for name, content in shared(installed.folder, kind).items()})
    except (EntryRefused, OSError):  # it can't be published, so it is not what was
        return ""


def _where(card: Card) -> str:
    return ", ".join(card.workspaces) or "all documents"


def _fetch(entry: Entry, source: Source, staging: Path, watch: Watch) -> None:
    """Put an entry's files into the empty folder `staging`, checked. Raises EntryRefused, SourceUnreachable, OSError."""
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True, mode=0o700)
    with watch(f"fetching {entry.name}", entry.size) as advance:
        for name, file in entry.files.items():
            taken(source, entry.place(name), file, staging / name, advance)
    check(staging)
    if entry.kind == ADAPTERS and not entry.base:
        _check_fit(staging)


def _check_fit(folder: Path) -> None:
    """Put an adapter into the default base's weights, as the server will. Raises EntryRefused where it can't be."""
    if not model_store.is_installed():
        return
    try:
        with_adapters(weights_of(model_store.default_base()), [Wanted(folder=folder, weight=1.0)])
    except ModelUnsupported:  # torch runs this base, and reads the adapter itself
        return
    except NeedsEngine as error:
        if not has_torch():
            raise EntryRefused(str(error).replace(str(folder), "it")) from error
    except (AdapterError, ScorerError) as error:
        raise EntryRefused(str(error).replace(str(folder), "it")) from error


def _carried_out(entry: Entry, plan: _Plan, staging: Path | None) -> Outcome:
    """Do what was planned; nothing, without `staging`."""
    detail = plan.detail
    if staging is not None and plan.change is Change.INSTALLED:
        made = adapter_registry.install(entry.name, staging, plan.card, entry.kind)
        detail = f"version {made.version}, {detail}"
    if staging is not None and plan.change is Change.DESCRIBED and plan.used is not None:
        adapter_registry.describe(plan.used, plan.card, entry.kind)
    return Outcome(kind=entry.kind, name=entry.name, change=plan.change, detail=detail)

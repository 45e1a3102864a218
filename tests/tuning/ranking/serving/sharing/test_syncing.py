"""What a source publishes is installed once, follows the source, and never takes the place of what is the user's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.tuning.models import tiny
from tests.tuning.ranking.serving.sharing.conftest import Be
from tests.tuning.ranking.serving.sharing.publications import (
    adapter,
    only_folder,
    republish,
    state,
    table,
    trained,
    used_value,
    version,
)
from tuning.ranking.serving.model import adapter_registry, model_store
from tuning.ranking.serving.model.adapter_registry import ADAPTERS, USAGE
from tuning.ranking.serving.sharing import syncing
from tuning.ranking.serving.sharing.checkouts import Checkouts, checkouts_of
from tuning.ranking.serving.sharing.errors import SourceRefused, SourceUnreachable
from tuning.ranking.serving.sharing.publication import INDEX
from tuning.ranking.serving.sharing.publishing import publish
from tuning.ranking.serving.sharing.sources import Advance, source_of
from tuning.ranking.serving.sharing.syncing import Change, Outcome, Wishes, follow


@contextlib.contextmanager
def watch(what: str, size: int) -> Generator[Advance]:
    yield lambda count: None


def sync(share: Path, **wishes: Any) -> list[Outcome]:
    """Follow a share; bob's checkouts lie beside it in `code`."""
    given: dict[str, Any] = {"checkouts": Checkouts(folders=[share.parent / "code"]), **wishes}
    return list(follow(source_of(str(share)), Wishes(**given), watch, lambda: None))


def changes(share: Path, **wishes: Any) -> list[Change]:
    return [outcome.change for outcome in sync(share, **wishes)]


def publish_next(share: Path, be: Be, value: float, **card: Any) -> None:
    """Ann trains and publishes again; it is bob's home afterwards."""
    be("ann")
    trained(adapter(share.parent / "made", value), **card)
    publish(["team"], ADAPTERS, share)
    be("bob")


def test_what_is_new_is_installed_and_what_is_not_writes_nothing(share: Path, be: Be) -> None:
    home = be("bob")
    (outcome,) = sync(share)
    assert (outcome.change, outcome.name, outcome.kind) == (Change.INSTALLED, "team", ADAPTERS)
    installed = adapter_registry.used("team")
    assert installed is not None and used_value() == 1.0
    card = installed.card
    assert (card.source, card.digest) == (str(share), only_folder(share).name)
    assert (card.workspaces, card.languages) == ([str(share.parent / "code" / "shop")], ["python"])
    before = state(home)
    assert changes(share) == [Change.CURRENT]
    after = state(home)
    for files in (before, after):
        files.pop("sync/lock")
    assert after == before
    assert sorted(file.name for file in (home / "sync").iterdir()) == ["lock"]


def test_a_newer_version_and_a_step_back_of_the_team_are_followed(share: Path, be: Be) -> None:
    sync(share)
    publish_next(share, be, 2.0)
    assert changes(share) == [Change.INSTALLED]
    assert (used_value(), version()) == (2.0, 2)
    be("ann")
    adapter_registry.roll_back("team")
    publish(["team"], ADAPTERS, share)
    be("bob")
    assert changes(share) == [Change.INSTALLED]
    assert (used_value(), version()) == (1.0, 3)
    assert changes(share) == [Change.CURRENT]


def test_what_the_user_went_back_from_is_not_installed_again_until_there_is_a_newer_one(share: Path, be: Be) -> None:
    sync(share)
    publish_next(share, be, 2.0)
    sync(share)
    adapter_registry.roll_back("team")
    (outcome,) = sync(share)
    assert (outcome.change, used_value()) == (Change.KEPT, 1.0)
    assert "you went back" in outcome.detail
    publish_next(share, be, 3.0)
    assert (changes(share), used_value()) == ([Change.INSTALLED], 3.0)
    adapter_registry.roll_back("team")
    assert used_value() == 1.0  # and not the one that was left before
    assert (changes(share), changes(share, replace=True), used_value()) == ([Change.KEPT], [Change.INSTALLED], 3.0)


def test_a_step_back_from_the_only_version_is_kept_too(share: Path) -> None:
    sync(share)
    assert adapter_registry.roll_back("team") is None
    assert changes(share) == [Change.KEPT]
    assert version() == 0


def test_what_the_user_trained_is_not_replaced(share: Path, be: Be) -> None:
    trained(adapter(share.parent / "own", 7.0))
    (outcome,) = sync(share)
    assert (outcome.change, used_value()) == (Change.KEPT, 7.0)
    assert "was trained here (2026-01-02" in outcome.detail and "--replace" in outcome.detail
    assert changes(share, replace=True) == [Change.INSTALLED]
    adapter_registry.roll_back("team")
    assert used_value() == 7.0  # the user's own again, and it stays
    publish_next(share, be, 2.0)
    assert (changes(share), used_value()) == ([Change.KEPT], 7.0)


def test_training_after_a_sync_is_the_user_s_own(share: Path, be: Be) -> None:
    sync(share)
    trained(adapter(share.parent / "own", 7.0))
    publish_next(share, be, 2.0)
    assert (changes(share), used_value()) == ([Change.KEPT], 7.0)


def test_who_publishes_follows_like_anybody_else(share: Path, be: Be) -> None:
    be("ann")
    assert changes(share) == [Change.DESCRIBED]  # from now on what she has is the team's
    assert changes(share) == [Change.CURRENT]
    installed = adapter_registry.used("team")
    assert installed is not None and (installed.version, installed.card.source) == (1, str(share))
    be("cleo")
    trained(adapter(share.parent / "made", 5.0))
    publish(["team"], ADAPTERS, share)
    be("ann")
    assert (changes(share), used_value(), version()) == ([Change.INSTALLED], 5.0, 2)


def test_a_name_follows_one_source(share: Path, be: Be, tmp_path: Path) -> None:
    sync(share)
    be("ann")
    trained(adapter(tmp_path / "made", 9.0))
    publish(["team"], ADAPTERS, tmp_path / "other")
    be("bob")
    (outcome,) = sync(tmp_path / "other")
    assert outcome.change is Change.KEPT and str(share) in outcome.detail
    assert changes(tmp_path / "other", replace=True) == [Change.INSTALLED]
    assert (changes(share), used_value()) == ([Change.KEPT], 9.0)


def test_two_sources_of_the_same_files(share: Path, be: Be, tmp_path: Path) -> None:
    sync(share)
    be("ann")
    publish(["team"], ADAPTERS, tmp_path / "other")
    be("bob")
    assert changes(tmp_path / "other") == [Change.CURRENT]
    assert changes(tmp_path / "other", replace=True) == [Change.DESCRIBED]  # it follows the other from now on
    publish_next(tmp_path / "other", be, 4.0)
    assert (changes(tmp_path / "other"), used_value()) == ([Change.INSTALLED], 4.0)


def test_repositories_are_found_by_their_names_in_the_folders_that_the_user_gives(share: Path, be: Be) -> None:
    (outcome,) = sync(share, checkouts=Checkouts())
    assert outcome.change is Change.REFUSED and "--workspace FOLDER, or --everywhere" in outcome.detail
    assert version() == 0
    (outcome,) = sync(share, checkouts=Checkouts(folders=[share]))
    assert (outcome.change, outcome.detail) == (Change.SKIPPED, "it is for shop: no such folder here")
    code = share.parent / "code"
    deeper = code / "github" / "shop"
    deeper.mkdir(parents=True)

    def folders() -> list[str]:
        installed = adapter_registry.used("team")
        assert installed is not None
        return list(installed.card.workspaces)

    assert changes(share) == [Change.INSTALLED]
    assert folders() == [str(deeper), str(code / "shop")]
    fork = share.parent / "fork"
    fork.mkdir()
    assert changes(share, checkouts=checkouts_of([f"shop={fork}"], is_everywhere=False)) == [Change.DESCRIBED]
    assert folders() == [str(fork)]
    assert changes(share, checkouts=checkouts_of([str(code / "shop")], is_everywhere=False)) == [Change.DESCRIBED]
    assert folders() == [str(code / "shop")]
    assert changes(share, checkouts=Checkouts()) == [Change.CURRENT]  # as it was
    assert changes(share, checkouts=Checkouts(is_everywhere=True)) == [Change.DESCRIBED]
    assert folders() == [] and version() == 1  # all of it with the same files
    assert sync(share, checkouts=Checkouts(is_everywhere=True))[0].detail == "the same files, for all documents"


def test_a_workspace_that_is_no_folder_is_said(tmp_path: Path) -> None:
    for given in ("nowhere", "shop=nowhere"):
        with pytest.raises(SourceRefused, match="nowhere is no folder"):
            checkouts_of([given], is_everywhere=False)


def test_what_was_made_for_all_documents_is_for_all(share: Path, be: Be) -> None:
    publish_next(share, be, 2.0, workspaces=[])
    assert changes(share, checkouts=Checkouts()) == [Change.INSTALLED]
    installed = adapter_registry.used("team")
    assert installed is not None and installed.card.workspaces == []


def test_usage_tables_are_followed_beside_adapters_of_their_name(share: Path, be: Be) -> None:
    be("ann")
    trained(table(share.parent / "tables"), kind=USAGE)
    publish(["team"], USAGE, share)
    be("bob")
    assert changes(share) == [Change.INSTALLED, Change.INSTALLED]
    assert (version(), version(kind=USAGE)) == (1, 1)
    adapter_registry.roll_back("team", USAGE)
    assert changes(share) == [Change.CURRENT, Change.KEPT]


def test_names_choose(share: Path, be: Be) -> None:
    be("ann")
    trained(adapter(share.parent / "made", 2.0), "other")
    publish(["other"], ADAPTERS, share)
    be("bob")
    found = sync(share, only=["other", "nobody"])
    assert [(one.name, one.change) for one in found] == [("nobody", Change.REFUSED), ("other", Change.INSTALLED)]
    assert version() == 0


def test_a_dry_run_says_the_same_and_writes_nothing(share: Path, be: Be) -> None:
    assert changes(share, dry_run=True) == [Change.INSTALLED]
    assert not be("bob").exists()
    sync(share)
    publish_next(share, be, 2.0)
    before = state(be("bob"))
    assert changes(share, dry_run=True) == [Change.INSTALLED]
    assert state(be("bob")) == before


def weights(made: Path, **tensor: Any) -> bytes:
    """An adapter's safetensors file with something else said of a tensor."""
    whole = (made / "adapter_model.safetensors").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header: dict[str, Any] = json.loads(whole[8 : 8 + length])
    next(about for name, about in header.items() if name != "__metadata__").update(tensor)
    changed = json.dumps(header).encode()
    return len(changed).to_bytes(8, "little") + changed + whole[8 + length :]


WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: {WEIGHTS: b"\x80\x04\x95" + b"x" * 90}, "no safetensors file"),  # a pickle
        (lambda made: {WEIGHTS: b"short"}, "no safetensors file"),
        (lambda made: {WEIGHTS: (2).to_bytes(8, "little") + b"{}"}, "holds no weights"),
        (lambda made: {WEIGHTS: (200_000).to_bytes(8, "little") + b"[" * 200_000}, "no safetensors file"),
        (lambda made: {WEIGHTS: weights(made, data_offsets=[0, 1 << 40])}, "is not whole"),
        (lambda made: {WEIGHTS: weights(made, data_offsets=[-64, 0])}, "no safetensors file"),
        (lambda made: {WEIGHTS: weights(made, data_offsets="all")}, "no safetensors file"),
        (lambda made: {WEIGHTS: weights(made, shape=[1 << 40])}, "is not whole"),
        (lambda made: {WEIGHTS: weights(made, dtype="__import__")}, "a type that is not read"),
        (lambda made: {WEIGHTS: (adapter(made, float("nan")) / WEIGHTS).read_bytes()}, "not finite"),
        (lambda made: {CONFIG: b"[]"}, "is no JSON object"),
        (lambda made: {CONFIG: b"\xff"}, "is no JSON object"),
        (lambda made: {CONFIG: b"{}"}, "names no method"),
        (lambda made: {CONFIG: b'{"peft_type": "XLORA", "adapters": {"a": "/etc"}}'}, "further adapters"),
    ],
)
def test_an_adapter_that_is_not_sound_is_refused_and_the_others_go_on(
    share: Path, be: Be, tmp_path: Path, change: Callable[[Path], dict[str, bytes]], said: str
) -> None:
    sync(share)
    be("ann")
    trained(adapter(tmp_path / "made", 3.0), "other")
    publish(["other"], ADAPTERS, share)
    republish(share, "team", change(tmp_path / "made"))
    be("bob")
    found = {outcome.name: outcome for outcome in sync(share)}
    assert found["team"].change is Change.REFUSED and said in found["team"].detail
    assert found["other"].change is Change.INSTALLED
    assert (used_value(), version()) == (1.0, 1)  # what was installed stays in use


def test_what_is_not_sound_is_not_published(share: Path, be: Be, tmp_path: Path) -> None:
    be("ann")
    made = table(tmp_path / "tables")
    (made / "python.usage").write_bytes((made / "python.usage").read_bytes()[:-3])
    trained(made, "cut", USAGE)
    trained(adapter(tmp_path / "made", float("nan")), "nan")
    before = (share / INDEX).read_bytes()
    for name, kind, said in (("cut", USAGE, "was cut short"), ("nan", ADAPTERS, "not finite")):
        with pytest.raises(SourceRefused, match=f"{name} can't be published: .*{said}"):
            publish([name], kind, share)
    assert (share / INDEX).read_bytes() == before
    only_folder(share)  # nothing was left there


def test_a_table_that_is_not_sound_is_refused(share: Path, be: Be, tmp_path: Path) -> None:
    be("ann")
    trained(table(tmp_path / "tables"), "shelf", USAGE)
    publish(["shelf"], USAGE, share)
    republish(share, "shelf", {"python.usage": b"starling usage 1" + b"\xff" * 90})
    be("bob")
    found = {one.name: one for one in sync(share)}
    assert found["shelf"].change is Change.REFUSED and "was cut short" in found["shelf"].detail
    assert found["team"].change is Change.INSTALLED


def test_an_adapter_that_does_not_fit_the_base_is_refused(
    share: Path, be: Be, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny("wide llama", 320).save_pretrained(tmp_path / "base")  # 64 wide, where the adapter is for 8
    monkeypatch.setattr(model_store, "training_folder", lambda: tmp_path / "base")
    (outcome,) = sync(share)
    assert outcome.change is Change.REFUSED and "it fits this base only in part" in outcome.detail
    assert str(be("bob")) not in outcome.detail and version() == 0
    be("ann")
    trained(adapter(tmp_path / "made", 2.0, width=64))
    trained(adapter(tmp_path / "other", 2.0, width=64, peft_type="VERA"), "engine")
    publish(["team", "engine"], ADAPTERS, share)
    be("bob")
    monkeypatch.setattr(syncing, "has_torch", lambda: False)
    found = {one.name: one for one in sync(share)}
    assert found["team"].change is Change.INSTALLED
    assert found["engine"].change is Change.REFUSED and "this needs the PEFT engine" in found["engine"].detail
    monkeypatch.setattr(syncing, "has_torch", lambda: True)
    assert changes(share, only=["engine"]) == [Change.INSTALLED]


def test_half_a_publication_is_refused_and_taken_when_it_is_whole(share: Path, tmp_path: Path) -> None:
    folder = only_folder(share)
    folder.rename(tmp_path / "aside")
    (outcome,) = sync(share)
    assert outcome.change is Change.REFUSED and "is not there" in outcome.detail
    (tmp_path / "aside").rename(folder)
    assert changes(share) == [Change.INSTALLED]


def test_what_is_for_another_base_is_refused(share: Path, be: Be, tmp_path: Path) -> None:
    be("ann")
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    trained(adapter(tmp_path / "made", 2.0), "small", base=str(base))
    trained(adapter(tmp_path / "made", 3.0), "older", beneath="0123456789abcdef")
    publish(["small", "older"], ADAPTERS, share)
    be("bob")
    found = {one.name: one for one in sync(share)}
    assert "--base" in found["small"].detail and "another version of Starling" in found["older"].detail
    assert [found[name].change for name in ("older", "small", "team")] == [*[Change.REFUSED] * 2, Change.INSTALLED]
    found = {one.name: one for one in sync(share, base=str(base))}
    assert [found[name].change for name in ("small", "team")] == [Change.INSTALLED, Change.REFUSED]
    installed = adapter_registry.used("small")
    assert installed is not None and installed.card.base == str(base)


def test_a_name_that_differs_in_case_from_one_that_is_installed_is_refused(share: Path) -> None:
    trained(adapter(share.parent / "own", 7.0), "Team")
    (outcome,) = sync(share)
    assert outcome.change is Change.REFUSED and "'Team' is installed" in outcome.detail
    assert used_value("Team") == 7.0


def test_too_much_for_one_run_is_refused(share: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "MOST", 100)
    assert changes(share) == [Change.REFUSED]


def test_what_breaks_off_leaves_nothing_half(share: Path, be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    sync(share)
    publish_next(share, be, 2.0)
    home = be("bob")
    before = state(home)
    before.pop("sync/lock")

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("check", "taken"):
        with monkeypatch.context() as patched:
            patched.setattr(syncing, name, broken)
            with pytest.raises(KeyboardInterrupt):
                sync(share)
        after = state(home)
        after.pop("sync/lock")
        assert after == before
    (home / "sync" / "new").mkdir()  # of a process that was killed
    (home / "sync" / "new" / "adapter_config.json").write_text("half")
    assert (changes(share), used_value()) == ([Change.INSTALLED], 2.0)


def test_a_process_that_is_killed_before_the_new_version_is_used_is_no_step_back(
    share: Path, be: Be, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync(share)
    publish_next(share, be, 2.0)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(adapter_registry, "_use", killed)
        with pytest.raises(KeyboardInterrupt):
            sync(share)
    assert used_value() == 1.0
    assert (changes(share), used_value()) == ([Change.INSTALLED], 2.0)


def test_what_was_done_before_the_source_went_away_stays(share: Path, be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    be("ann")
    trained(adapter(share.parent / "made", 2.0), "zebra")
    publish(["zebra"], ADAPTERS, share)
    be("bob")
    taken = syncing.taken

    def unplugged(source: Any, place: Any, file: Any, to: Any, advance: Any) -> None:
        if version():
            raise SourceUnreachable("the share is gone")
        taken(source, place, file, to, advance)

    monkeypatch.setattr(syncing, "taken", unplugged)
    with pytest.raises(SourceUnreachable):
        sync(share)
    assert (version(), version("zebra")) == (1, 0)


def test_training_while_a_sync_fetches_is_kept(share: Path, be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = syncing.taken

    def slow(source: Any, place: Any, file: Any, to: Any, advance: Any) -> None:
        taken(source, place, file, to, advance)
        if not version():
            trained(adapter(share.parent / "own", 7.0))

    monkeypatch.setattr(syncing, "taken", slow)
    assert (changes(share), used_value()) == ([Change.KEPT], 7.0)

"""starling doctor: what it finds is shown as it is."""

from __future__ import annotations

import pytest

from corpus.interpreter import install_command
from starling_lsp.commands import doctor
from starling_lsp.findings import Finding


def test_brackets_are_no_markup(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    remedy = install_command("train")
    findings = [
        Finding(what="libraries", found="missing: x[y]", remedy=remedy),
        Finding(what="Starling", found="[red]"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda settings: findings)
    assert doctor.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "x[y]" in said
    assert "[red]" in said
    assert "[train]" in said


def test_what_is_needed_and_missing_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Finding(what="language servers", found="none", remedy="install one", needed=True)
    monkeypatch.setattr(doctor, "examine", lambda settings: [missing])
    assert doctor.main(["doctor"]) == 1


def test_what_is_not_installed_and_not_needed_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer = Finding(what="Java", found="jdtls is not installed", remedy="install it")
    monkeypatch.setattr(doctor, "examine", lambda settings: [offer])
    assert doctor.main(["doctor"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "– Java" in said
    assert "A line with – names something that is not installed; everything else works without it." in said

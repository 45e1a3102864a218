"""What `starling doctor` looks at: a module a part of the installation, each with a function that returns findings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report. `remedy` says what to do; it is "" if nothing is wrong."""

    what: str
    found: str
    remedy: str = ""
    offer: bool = False  # whoever does not use it misses nothing
    needed: bool = False  # Starling can't work without it, or the user asked for just this

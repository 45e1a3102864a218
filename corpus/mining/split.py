"""Which part of the corpus a repository belongs to: by its name alone, so that it never moves and none is in two."""

from __future__ import annotations

import hashlib

PARTS = ("test", "validation", "train")  # what is measured on first: copies are taken out of the later ones
TEST, VALIDATION = 0.05, 0.05


def part_of(repository: str, seed: int = 0) -> str:
    """One of PARTS. Letter case and a trailing ".git" do not count."""
    name = repository.casefold().removesuffix(".git")
    drawn = int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:8], "big") / 2**64
    return "test" if drawn < TEST else "validation" if drawn < TEST + VALIDATION else "train"

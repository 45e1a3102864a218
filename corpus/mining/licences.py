"""Under which licence a repository's code may be used, from its licence files, as SPDX names.

Only whole texts count, found by askalono; a name in a README is no licence. What is not known is not allowed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from functools import lru_cache

PERMISSIVE = frozenset(
    {
        "0BSD", "Apache-2.0", "BlueOak-1.0.0", "BSD-1-Clause", "BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause",
        "BSD-3-Clause-Clear", "BSD-4-Clause", "BSL-1.0", "CC0-1.0", "curl", "ISC", "MIT", "MIT-0", "PostgreSQL", "PSF-2.0",
        "Python-2.0", "Python-2.0.1", "Unlicense", "UPL-1.0", "W3C", "X11", "Zlib",
    }
)  # fmt: skip
UNKNOWN = "unknown"
CERTAIN = 0.85  # of askalono's score: a text with a name and a year filled in has above 0.95
LONGEST = 200_000  # bytes of a licence file that are read
_FILE = re.compile(
    r"(?i)^(?:un)?(?:licen[cs]e|copying|notice)(?:[-_][\w-]+)*(?:\.(?:txt|md|rst|mit|bsd|apache|apl|asl|isc)[\w.-]*)?$"
)
_OF_WHEEL = re.compile(r"[^/]+\.dist-info/licenses(?:/LICENSES?)?$")
_WHOSE = re.compile(r"(?i)\W*copyright\W+(?:\(c\)|©|\d|by\b)")
_APACHE_ENDS = "END OF TERMS AND CONDITIONS"  # what follows is how to apply it, and the licences of bundled parts
# A text that is another's but for a clause: only where it says whose it is.
_VARIANTS = {"Pixar": ("pixar", "Apache-2.0")}
# The words of the texts that most repositories have, as digests; and what texts of the same licence differ in: a title, whose
# it is, a clause's number, how an address begins. Spares a search that takes as long as reading a megabyte of code.
_KNOWN = {
    "0cf21bdfd1964a97": "MIT",
    "f45538b138cf9aea": "Apache-2.0",  # to the end of its terms
    "986c3c3199a93b91": "BSD-2-Clause",
    "8b9e5c8ad4f90e52": "BSD-3-Clause",
}
_VARIES = re.compile(
    r"^(?:the )?(?:mit|bsd(?: [23] clause)?) licen[sc]e (?:mit )?(?=copyright |permission |redistribution |all rights )"
    r"|(?:^|(?<=licen[sc]e ))copyright [a-z0-9 ]{1,120}?(?=permission is |redistribution and )"
    r"|\ball rights reserved (?=redistribution and )"
    r"|(?<= )[0-9abci]+ (?=redistributions of |redistributions in |neither the name )"
    r"|(?<=neither the name of )[a-z0-9 ]{1,80}?(?= nor the names of )"
    r"|(?<=\bhttp)s(?= )"
)
_ADDED = "commons clause"  # takes away the right to sell, of whatever licence it is added to
_STATES_OTHERS = re.compile(r"(?i)third|notice|vendor|dependenc")


def is_licence_file(path: str) -> bool:
    """Whether a path at the root, in the root's one folder (an unpacked archive) or where a wheel has it, may state the
    licence of all."""
    folder, _, name = path.rpartition("/")
    return (
        ("/" not in folder or bool(_OF_WHEEL.match(folder)))
        and bool(_FILE.match(name))
        and not _STATES_OTHERS.search(name)
    )


def licence_of(texts: Mapping[str, bytes]) -> str:
    """The SPDX expression of licence files (path to text): several that differ are all offered ("OR" of dual licences).

    'unknown' where there is none, or one of them is not known.
    """
    found: set[str] = set()
    depth = min((path.count("/") for path in texts), default=0)
    for path, text in sorted(texts.items()):
        if path.count("/") == depth:
            found.add(_identified(text))
    return UNKNOWN if not found or UNKNOWN in found else " OR ".join(sorted(found))


def allowed(licence: str, wanted: Collection[str] = PERMISSIVE) -> bool:
    """Whether every licence that a repository states is one of those wanted."""
    return all(part in wanted for part in licence.split(" OR "))


def _identified(text: bytes) -> str:
    """By a text without its owners, which many repositories share."""
    decoded = text[:LONGEST].decode("utf-8", "replace")
    whole = "\n".join(line for line in decoded.split("\n") if not _WHOSE.match(line))
    if _ADDED in decoded.lower():
        return UNKNOWN
    terms, ends, _ = whole.partition(_APACHE_ENDS)
    found = _KNOWN.get(digest_of_words(terms + ends)) or searched(whole)
    if found == UNKNOWN and ends:
        found = searched(terms + ends)
    mark, meant = _VARIANTS.get(found, ("", found))
    return found if mark and mark in whole.lower() else meant


def digest_of_words(text: str) -> str:
    """Equal for texts of the same words, however they are broken into lines and marked up."""
    words = _VARIES.sub("", " ".join(re.findall(r"[a-z0-9]+", text.lower())))
    return hashlib.sha256(words.encode()).hexdigest()[:16]


@lru_cache(1_000)  # texts; a run over many sources meets ever more of them
def searched(text: str) -> str:
    """The licence whose text is most like this one, or 'unknown' where none is. Takes some 0.2 s."""
    from askalono import identify  # pyright: ignore[reportAttributeAccessIssue]  (it ships no types)

    try:
        found = identify(text)
    except ValueError:
        return UNKNOWN
    return found.name if found.score >= CERTAIN else UNKNOWN

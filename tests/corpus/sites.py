"""What the tables of every language check: the site of a cursor, which a text marks with its last '|'."""

from corpus.syntax.language import Language, languages
from corpus.syntax.parse import SyntaxDocument
from corpus.syntax.site import CompletionSite, site_at


def site(marked: str, language: Language) -> CompletionSite:
    before, _, after = marked.rpartition("|")
    offset = len(before.encode("utf-8", "surrogatepass"))
    return site_at(SyntaxDocument((before + after).encode("utf-8", "surrogatepass"), language), offset)


def check_site(marked: str, language: str, **expected: object) -> None:
    """`visible`, `own_members` and `imports` are those that must be there at least; all else must be equal."""
    found = site(marked, languages()[language])
    for name, value in expected.items():
        actual = getattr(found, name)
        if name in ("visible", "own_members"):
            assert isinstance(value, set)
            assert value <= set(actual), f"{name}: {sorted(actual)}"
        elif name == "imports":
            assert isinstance(value, dict)
            assert value.items() <= actual.items(), f"{name}: {actual}"
        else:
            assert actual == value, f"{name} of {marked!r}"

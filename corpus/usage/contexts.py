"""The contexts of a name, from the coarsest to the finest, each as a text. Only its hash is stored.

The ranker and the counting call the same functions: with a completion site, and with the syntax tree of a whole file.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from corpus.syntax.expressions import opening_bracket
from corpus.syntax.imports import dotted
from corpus.syntax.language import Language
from corpus.syntax.lexical import is_identifier, word_start
from corpus.syntax.origins import is_own
from corpus.syntax.site import CompletionSite

_SPACES = b" \t\\"
_WORD_REACH = 64  # bytes before a name that are searched for the word before it
_MOST_ARGUMENTS = 4  # positional arguments after this one share a context


def contexts_of(site: CompletionSite, before: bytes, language: Language) -> list[str]:
    """Return the contexts of a site. `before`: the text before the identifier."""
    if site.kind == "member":
        return member_contexts(site.receiver_origin, site.receiver_type, site.receiver, language)
    if site.kind == "import":
        return import_contexts(dotted(site.receiver_type, language))
    return name_contexts(previous(before, language), site.callee, site.callee_origin, site.argument, language)


def member_contexts(origin: str, of_class: str, receiver: str, language: Language) -> list[str]:
    """Contexts of a member: any member, members of the receiver's last name, of its class, of its origin."""
    found = ["m"]
    last = last_name(receiver, language)
    if last:
        found.append(f"m {last}")
    if of_class:
        found.append(f"m: {of_class.rpartition('.')[2]}")
    if origin:
        found.append(f"m< {origin}")
    return found


def import_contexts(module: str) -> list[str]:
    """Contexts of an imported name: any import, imports from its module."""
    return ["i", f"i< {module}"] if module and not is_own(module) else ["i"]


def name_contexts(token: str, callee: str, origin: str, argument: int | str | None, language: Language) -> list[str]:
    """Contexts of a bare name: any name, names after this token, names in the arguments of this callee."""
    found = ["n", f"n {token}"]
    if callee:
        place = argument if isinstance(argument, str) else min(argument or 0, _MOST_ARGUMENTS)
        last = last_name(callee, language)
        found += [f"n( {last}", f"n( {last} {place}"]
        if origin:
            found += [f"n(< {origin}", f"n(< {origin} {place}"]
    return found


def last_name(expression: str, language: Language) -> str:
    """Return the last name of an expression, with "()" or "[]" appended if it is called or indexed; '' if there is none."""
    raw = expression.rstrip().encode("utf-8", "surrogatepass")
    end = ""
    while raw[-1:] in (b")", b"]"):
        opened = opening_bracket(raw, len(raw))
        if opened < 0 or len(end) > 2:
            return ""
        end = ("()" if raw[-1:] == b")" else "[]") + end
        raw = raw[:opened].rstrip()
    name = raw[word_start(raw, len(raw), language) :].decode("utf-8", "replace")
    return name + end if is_identifier(name, language) else ""


def previous(before: bytes, language: Language) -> str:
    """Return the token before a name: a keyword, punctuation, "\\n" at the start of a line, "a" for any other word."""
    text = before[-_WORD_REACH:].rstrip(_SPACES)
    if not text or text[-1:] in b"\r\n":
        return "\n"
    start = word_start(text, len(text), language)
    if start < len(text):
        word = text[start:].decode("utf-8", "replace")
        return word if word in language.lexis.keywords else "a"
    last = text[-2:].decode("utf-8", "replace")
    return last if len(last) == 2 and not (last[0].isalnum() or last[0].isspace() or last[0] in "\"'_)]") else last[-1:]


@lru_cache(maxsize=20_000)
def hash_of(context: str) -> int:
    """Return a 64-bit hash that is the same on every machine."""
    raw = context.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")

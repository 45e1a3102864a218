"""The class that a written annotation means. Pure functions over a language's `TypeRules`."""

from __future__ import annotations

from corpus.syntax.language import TypeRules

_DEEPEST = 6  # steps from an annotation to what is in it
_QUOTES = "\"'`"
NONE: frozenset[str] = frozenset()


def class_of(text: str, rules: TypeRules, opened: frozenset[str] = NONE) -> str:
    """The class that an annotation means, when it means one; '' otherwise.

    `opened` names generics that stand for their first argument here, beside those that always do. Where types are
    written as in Python, `Optional[X]`, `X | None` and `"X"` are X.
    """
    return _class_of(text, rules, opened, False)


def path_of(text: str, rules: TypeRules) -> str:
    """The dotted name, as written, of the class that an annotation means; '' where it means none."""
    path = _path_of(text, rules, NONE, False)
    return "" if _last_part(path, rules) in rules.nothing else path


def element_of(text: str, rules: TypeRules) -> str:
    """The class of what is in a collection that an annotation means; '' where it means none."""
    return _class_of(text, rules, rules.elements, True)


def _class_of(text: str, rules: TypeRules, opened: frozenset[str], element: bool) -> str:
    return _last_part(_path_of(text, rules, opened, element), rules)


def _path_of(text: str, rules: TypeRules, opened: frozenset[str], element: bool) -> str:
    opens, closes = rules.generic or ("\0", "\0")
    for _ in range(_DEEPEST):
        text = _bare(text, rules)
        head, bracket, rest = text.partition(opens)
        name = _last_part(head, rules)
        if bracket and (name in rules.unwrapped or name in opened) and rest.rstrip().endswith(closes):
            element = element and name not in opened
            text = rest.rstrip()[: -len(closes)]
            continue
        parts = [part for part in _alternatives(text, rules) if part not in rules.nothing]
        if not parts:
            return ""
        if parts[0] != text:
            text = parts[0]
            continue
        suffix, suffixed = next(((end, named) for end, named in rules.suffixes if text.endswith(end)), ("", ""))
        if suffix and element:
            text, element = text.removesuffix(suffix), False
            continue
        if element:
            return ""
        return suffixed if suffix else head.strip() if name.replace("$", "_").isidentifier() else ""
    return ""


def _bare(text: str, rules: TypeRules) -> str:
    """The annotation without quotes, and without words and marks that say nothing of its class."""
    text = text.strip()
    if rules.quoted:
        return text.strip("\"'").strip()
    if text[:1] in _QUOTES and text[-1:] == text[:1]:
        return next((name for pattern, name in rules.literals if pattern.match(text.encode())), "")
    changed = True
    while changed and text:
        changed = False
        for mark in rules.dropped:
            word = mark[-1].isalpha()
            if text.startswith(mark) and not (word and text[len(mark) : len(mark) + 1].strip()):
                text, changed = text.removeprefix(mark).strip(), True
            elif text.endswith(mark) and not (word and text[: -len(mark)][-1:].strip()):
                text, changed = text.removesuffix(mark).strip(), True
    return text


def _last_part(head: str, rules: TypeRules) -> str:
    """The last name of a dotted one."""
    name = head.strip()
    for separator in rules.separators:
        name = name.rpartition(separator)[2]
    return name


def _alternatives(text: str, rules: TypeRules) -> list[str]:
    """The members of a union, none of its operators being inside brackets."""
    opens, closes = "[(", "])"
    if rules.generic and rules.generic[0] not in opens:
        opens, closes = opens + "{" + rules.generic[0], closes + "}" + rules.generic[1]
    parts, level = [""], 0
    for character in text:
        arrow = character == ">" and parts[-1][-1:] in ("=", "-")
        level += (character in opens) - (character in closes and not arrow)
        if level == 0 and character in rules.union_operators:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]

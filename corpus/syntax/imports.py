"""How an import's path is written in words that all files share: dots between its parts, no version, '.' before the project's own."""

from __future__ import annotations

import re

from corpus.syntax.language import Language

_LAST = re.compile(r"[^/]*$")


def bound_name(written: str, language: Language) -> str:
    """Return the name that an import binds, where it is written as a path: the path's last part, as the language names modules."""
    path = without_version(written, language)
    found = (language.lexis.module_name or _LAST).search(path)
    return found[found.re.groups] if found else path


def origin_of(module: str, member: str, language: Language) -> str:
    """Return the dotted origin of an imported name; it begins with '.' if it belongs to the project itself."""
    module, member = dotted(module, language), dotted(member, language)
    return f"{module}.{member}" if member and not module.endswith(".") else module + member


def dotted(path: str, language: Language) -> str:
    """Return a path with dots between its parts."""
    path = without_version(path, language).removeprefix(language.lexis.root_prefix)
    for separator in language.types.separators:
        path = path.replace(separator, ".")
    return "." + path if path.partition(".")[0] in language.lexis.own_modules else path


def without_version(path: str, language: Language) -> str:
    """Return a path without the parts that are a version."""
    return language.lexis.module_versions.sub("", path) if language.lexis.module_versions else path

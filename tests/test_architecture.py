"""Who may import whom, and where names of languages and servers may stand (ARCHITECTURE.md, Boundaries)."""

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from corpus.syntax.language import languages

ROOT = Path(__file__).parent.parent
PACKAGES = ("starling_lsp", "lsp_server", "corpus", "tuning")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
HEAVY = {
    "pygls",
    "lsprotocol",
    "numpy",
    "torch",
    "transformers",
    "tree_sitter",
    "rich",
    "onnxruntime",
    "tuning.ranking.serving.model.scorer",
}
COMMON = "corpus.interpreter"  # how any of us starts Python
REPLAYING = (
    "corpus.lists.candidates",
    "corpus.lists.replay",
)  # ask wrapped servers, with the client that Starling itself uses
SERVING = "tuning.ranking.serving"
USAGE = (
    "corpus.usage.contexts",
    "corpus.usage.table",
)  # what looks names up in the tables that are counted of a corpus


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] in PACKAGES}


def allowed(module: str) -> tuple[str, ...]:
    return (COMMON, *of_its_own(module))


def of_its_own(module: str) -> tuple[str, ...]:
    if module in REPLAYING:
        return ("corpus", "lsp_server")
    if module.startswith("corpus.syntax"):
        return ("corpus.syntax",)
    if module.startswith(SERVING):
        return ("corpus.syntax", *USAGE, "tuning.files", "tuning.errors", SERVING)
    if module.startswith("tuning.ranking"):
        return ("corpus", "tuning")
    if module.startswith("tuning"):
        return ("tuning",)
    if module.startswith("corpus"):
        return ("corpus",)
    if module.startswith("starling_lsp"):  # the command, above all of them
        return PACKAGES
    return ("lsp_server", SERVING, "corpus.syntax")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_one_way(path: Path) -> None:
    wrong = {name for name in imports(path) if not name.startswith(allowed(module_of(path)))}
    assert wrong == set()


# The rooms of the server, from above to below: nobody imports from a room above its own.
ROOMS = ("transport", "features", "session", "routing", "servers", "ranking", "protocol", "documents", "jsonrpc")
ABOVE = {"__main__", "serving", "app", "probe"}  # what uses the rooms
BESIDE = {"settings", "logs"}  # what any of them may use


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@pytest.mark.parametrize("path", [path for path in FILES if path.is_relative_to(ROOT / "lsp_server")], ids=module_of)
def test_arrows_between_rooms_point_down(path: Path) -> None:
    own = room_of(module_of(path))
    if own in ABOVE or module_of(path) == "lsp_server":
        return
    below = set(ROOMS[ROOMS.index(own) :]) | BESIDE | {"__init__"} if own in ROOMS else BESIDE | {"__init__"}
    assert {room_of(name) for name in imports(path) if name.startswith("lsp_server")} - below == set()


# The rooms of tuning/ranking: what serves knows neither of the others, what evaluates nothing of what learns.
RANKING_ROOMS = ("learning", "evaluating", "serving")


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent.is_relative_to(ROOT / "tuning/ranking")], ids=module_of
)
def test_arrows_between_rooms_of_ranking_point_down(path: Path) -> None:
    own = ranking_room(module_of(path))
    below = set(RANKING_ROOMS[RANKING_ROOMS.index(own) :]) if own in RANKING_ROOMS else set(RANKING_ROOMS)
    used = {ranking_room(name) for name in imports(path) if name.startswith("tuning.ranking.")}
    assert used - below == set()


def ranking_room(module: str) -> str:
    return [*module.split("."), "", ""][2]


def test_what_serves_imports_neither_torch_nor_transformers() -> None:
    """All of it, with both out of reach, and a model scored."""
    modules = sorted(module_of(path).removesuffix(".__init__") for path in FILES if module_of(path).startswith(SERVING))
    script = f"""
import sys
from importlib import import_module
for name in ("torch", "transformers", "safetensors", "onnx", "corpus.mining.sources"):
    sys.modules[name] = None  # importing it fails
for module in {[*modules, "lsp_server.ranking.ranker_process"]}:
    import_module(module)
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(*sorted(loaded & {{"torch", "transformers", "safetensors", "accelerate", "gguf"}} - {{"torch", "transformers", "safetensors"}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr


@pytest.mark.parametrize("package", ["lsp_server", "tuning"])
def test_no_file_imports_in_a_circle(package: str) -> None:
    """Imports for type checkers alone included: two files that need each other are one, or need a third."""
    modules = {module_of(path): path for path in FILES if path.is_relative_to(ROOT / package)}
    packages = {name for name in modules if name.endswith("__init__")}
    needs = {module: imported(path, modules) - {module, "lsp_server"} for module, path in modules.items()}
    order = list(TopologicalSorter(needs).static_order())  # CycleError names a circle
    assert set(order) >= modules.keys() - packages - {"lsp_server"}


def imported(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """The modules of ours that a file imports, by name or as members of their package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (members & modules.keys()) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules.keys()


def names_in_code(path: Path) -> set[str]:
    """Identifiers and whole string constants of a file; docstrings and comments are prose."""
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            found.add(node.value)
        for field in ("id", "attr", "arg", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str) and len(name) > 2:  # shorter ones are anybody's variables
                found.add(name)
    return found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_language_or_server_is_named(path: Path) -> None:
    names = {language.id for language in languages().values()}
    names |= {server.name for language in languages().values() for server in language.servers}
    assert names & names_in_code(path) == set()


def test_one_place_of_each_language_starts_a_module_of_ours() -> None:
    """`python -m` takes modules of the current folder and of PYTHONPATH for ours; what starts them has to say otherwise."""
    flag = re.compile(
        r"""["']-m["'](?!, ["']pip["'])|python3? -m (?!lsp_server)"""
    )  # `python -m lsp_server` sees to it itself
    code = [*FILES, *(ROOT / "vscode-client" / "src").glob("*.ts"), *(ROOT / "starling_lsp/nvim").rglob("*.lua")]
    found = {path.relative_to(ROOT).as_posix() for path in code if flag.search(without_prose(path))}
    assert found == {"vscode-client/src/python.ts", "starling_lsp/nvim/lua/starling/train.lua"}
    assert "'-E', '-P', '-m'" in (ROOT / "starling_lsp/nvim/lua/starling/train.lua").read_text()


def without_prose(path: Path) -> str:
    """The code of a file; of Python without docstrings."""
    if path.suffix != ".py":
        return path.read_text()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return ast.unparse(tree)


def test_the_server_process_loads_nothing_heavy() -> None:
    script = "import sys, lsp_server.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()

"""What a project says that it needs is read as data; an installer gets names and versions, and nothing else of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from corpus.lists import dependencies
from corpus.lists.dependencies import INSTALLERS, MOST, Installer, installed

FAKE = """
import pathlib, signal, sys
to, rest = pathlib.Path(sys.argv[1]), sys.argv[2:]
with (to.parent / "asked").open("a") as log:
    log.write(repr(rest) + chr(10))
if "slow" in rest:
    signal.pause()
if "broken" in rest:
    sys.exit(1)
(to / "packages").mkdir(exist_ok=True)
for name in rest[1:]:
    (to / "packages" / name).write_text(name)
"""


def project(folder: Path, files: Mapping[str, str | object]) -> Path:
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8", errors="replace")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_wanted(folder: Path, how: str, files: Mapping[str, str | object], *expected: str) -> None:
    assert list(INSTALLERS[how].wanted(project(folder, files))) == list(expected)


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("pyproject.toml", '[project]\ndependencies = ["a>=1,<2", "b[c, d]~=1.0 ; python_version < \'4\'", "e"]\n',
         ["a<2,>=1", "b[c,d]~=1.0", "e"]),
        ("pyproject.toml", '[project]\ndependencies = ["a @ https://x.org/a.whl", "b @ git+ssh://x/b", "../c", "-e ."]\n', []),
        ("pyproject.toml", '[tool.poetry.dependencies]\na = "^1.2"\nb = { version = "1", extras = ["x"] }\n', ["a", "b"]),
        ("PKG-INFO", "Name: p\nRequires-Dist: a>=1; python_version > '3'\nRequires-Dist: b; extra == 'dev'\n\nRequires-Dist: c\n",
         ["a>=1"]),
        ("PKG-INFO", "Requires-Dist: a (>=1,<2)\nRequires-Dist: b[c] (~=1.0) ; os_name == 'nt'\n", ["a<2,>=1", "b[c]~=1.0"]),
        ("p-1.dist-info/METADATA", "Requires-Dist: a\nRequires-Dist: b @ file:///etc\n", ["a"]),
        ("setup.cfg", "[options]\ninstall_requires =\n    a>=1\n    # no\n\n    b ; os_name == 'nt'\npython_requires = >=3\n\n[x]\ny =\n  z\n",
         ["a>=1", "b"]),
        ("setup.cfg", "[options]\ninstall_requires = file: requirements.txt\n", []),
        ("requirements.txt", "# no\na==1.0  # pinned\nb>=2 ; python_version < '3.9'\n\nc[d]\r\n", ["a==1.0", "b>=2", "c[d]"]),
        ("requirements.txt", "-r other.txt\n--index-url http://x\n  -e .\n-f x\nhttps://x/a.whl\ngit+https://x/y#egg=z\n./a\n../b\n/c\na/b\n", []),
        ("requirements/base.txt", "a\n", ["a"]),
    ],
)  # fmt: skip
def test_requirements_of_python(tmp_path: Path, file: str, content: str, expected: list[str]) -> None:
    check_wanted(tmp_path, "pip", {file: content}, *expected)


def test_poetrys_paths_and_repositories_are_no_names_of_the_registry(tmp_path: Path) -> None:
    content = '[tool.poetry.dependencies]\na = { path = "../a" }\nb = { git = "https://x.org/b" }\nc = { url = "https://x.org/c.whl" }\nd = "1"\n'
    check_wanted(tmp_path, "pip", {"pyproject.toml": content}, "d")


def test_a_setup_script_is_read_and_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script = f"open({str(ran)!r}, 'w')\nrequirements = ['a>=1', name, *more, 'b @ https://x.org/b']\nsetup(install_requires=['c'], name='d', extras_require=['e'])\n"
    check_wanted(tmp_path / "p", "pip", {"setup.py": script}, "a>=1", "c")
    assert not ran.exists()


def test_packages_of_node(tmp_path: Path) -> None:
    listed = {
        "a": "^1.2.3", "@s/b": "1.x || 2", "c": "latest", "d": "*", "own": "1.0", "other": "workspace:*",
        "file": "file:../x", "git": "git+ssh://git@x.org/y.git", "short": "user/repo", "link": "link:../y",
        "alias": "npm:evil@1", "web": "https://x.org/a.tgz", "number": 1, "none": None, "UPPER/x": "1", "../up": "1",
    }  # fmt: skip
    files = {
        "package.json": {"name": "own", "dependencies": listed, "peerDependencies": {"peer": ">=1 <3"}},
        "packages/other/package.json": {"name": "other", "devDependencies": {"@types/n": "1", "webpack": "5", "vitest": "^1"}},
    }  # fmt: skip
    found = list(INSTALLERS["npm"].wanted(project(tmp_path, files)))
    assert {"a@^1.2.3", "@s/b@1.x || 2", "c@latest", "d@*", "peer@>=1 <3", "@types/n@1", "vitest@^1"} <= set(found)
    versioned = {name for name in found if "@" in name[1:]}
    assert not {name.rpartition("@")[0] for name in versioned} & {
        "file",
        "git",
        "short",
        "link",
        "alias",
        "web",
        "number",
    }
    assert not {"own", "other", "webpack", "UPPER/x", "../up"} & {name.rpartition("@")[0] or name for name in found}


DEEP = 100_000


@pytest.mark.parametrize(
    ("how", "file", "content"),
    [
        ("pip", "pyproject.toml", "[project"),
        ("pip", "pyproject.toml", 'project = 1\ntool = [1]\n[x]\ny = "'),
        ("pip", "pyproject.toml", 'project = { dependencies = "a" }\ntool = { poetry = { dependencies = ["a"] } }\n'),
        ("pip", "pyproject.toml", "[project]\ndependencies = [1, [], {}]\n"),
        ("pip", "pyproject.toml", "x = " + "9" * 5000),
        ("pip", "pyproject.toml", "x = " + "[" * DEEP),
        ("pip", "setup.py", "def ("),
        ("pip", "setup.py", "\0"),
        ("pip", "setup.py", "x = " + "-" * DEEP + "1"),
        ("pip", "setup.py", "x = a" + ".a" * DEEP),
        ("pip", "setup.py", "install_requires = requires()\na[0] = 1\na = b = 2\nsetup(**x)\n"),
        ("pip", "requirements.txt", "a" * 1_000_001),
        ("npm", "package.json", "{"),
        ("npm", "package.json", "[" * DEEP),
        ("npm", "package.json", "[]"),
        ("npm", "package.json", {"name": ["a"], "dependencies": {}}),
        ("npm", "package.json", {"name": None, "dependencies": ["a"], "devDependencies": 1, "peerDependencies": "a"}),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_malformed_file_names_nothing(tmp_path: Path, how: str, file: str, content: str | object) -> None:
    check_wanted(tmp_path, how, {file: content})


def test_no_line_takes_long_to_read(tmp_path: Path) -> None:
    project(tmp_path, {"requirements.txt": "a>" + "1!" * 20 + "1 x\n"})
    began = time.process_time()
    list(INSTALLERS["pip"].wanted(tmp_path))
    assert time.process_time() - began < 0.1


# What is handed to an installer


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installer that wants the words of a file `wants` and puts a file for each into the folder; returns `kept`."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    installer = Installer(
        wanted=lambda project: (project / "wants").read_text().split(),
        command=lambda to: [sys.executable, "-S", str(script), str(to)],
        folder="packages",
    )
    monkeypatch.setattr(dependencies, "INSTALLERS", {"fake": installer})
    return tmp_path / "kept"


def asked(kept: Path) -> list[str]:
    return (kept / "asked").read_text().splitlines() if (kept / "asked").is_file() else []


def bring(folder: Path, kept: Path, wants: str, *not_brought: str) -> tuple[str, list[str]]:
    """How it went, and what is beside the project then."""
    project(folder / "sources", {"wants": wants})
    said = installed("fake", folder / "sources", folder, kept, not_brought)
    beside = folder / "packages"
    return said, sorted(file.name for file in beside.iterdir()) if beside.is_dir() else []


def test_projects_that_name_the_same_share_it(tmp_path: Path, fake: Path) -> None:
    assert bring(tmp_path / "one", fake, "a b a") == ("2 installed", ["a", "b"])
    assert bring(tmp_path / "two", fake, "b a") == ("2 installed", ["a", "b"])
    assert asked(fake) == ["['--', 'a', 'b']"]
    assert bring(tmp_path / "three", fake, "a") == ("1 installed", ["a"])
    assert len(asked(fake)) == 2
    assert (tmp_path / "one" / "packages").resolve() == (tmp_path / "two" / "packages").resolve()


def test_one_that_is_not_to_be_had_does_not_keep_the_others_away(tmp_path: Path, fake: Path) -> None:
    assert bring(tmp_path / "p", fake, "a broken b") == ("2 of 3 installed", ["a", "b"])
    assert bring(tmp_path / "q", fake, "broken") == ("0 of 1 installed", [])


def test_nothing_named_asks_nobody(tmp_path: Path, fake: Path) -> None:
    assert bring(tmp_path / "p", fake, "") == ("none are named", [])
    assert bring(tmp_path / "q", fake, "Torch>=2 torch[x]", "torch") == ("none are named", [])
    assert installed("", tmp_path / "p", tmp_path, fake) == "nothing is looked for"
    assert not fake.exists()


def test_only_so_many_are_asked_for(tmp_path: Path, fake: Path) -> None:
    assert bring(tmp_path / "p", fake, " ".join(f"a{n}" for n in range(MOST + 5)))[0] == f"{MOST} installed"


def test_a_tool_that_is_not_here_is_said(tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Installer(wanted=lambda _: ["a"], command=lambda _: ["no-such-tool"], folder="packages")
    monkeypatch.setattr(dependencies, "INSTALLERS", {"fake": missing})
    assert bring(tmp_path / "p", fake, "") == ("not installed: no-such-tool is not here", [])


def test_one_that_takes_too_long_is_given_up(tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "SECONDS", 0.2)
    assert bring(tmp_path / "p", fake, "slow") == ("1 took more than 0 s", [])


def test_a_name_that_no_command_line_takes_costs_only_itself(tmp_path: Path, fake: Path) -> None:
    assert bring(tmp_path / "p", fake, "a " + "b" * 200_000)[1] == ["a"]


def test_a_folder_that_is_given_relative_is_found_too(
    tmp_path: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bring(tmp_path / "p", Path("kept"), "a b") == ("2 installed", ["a", "b"])


HOSTILE = st.sampled_from([
    "-g", "--global", "--index-url=http://x", "-r", "a", "a b", "@", "@a/b", "http://x/y", "git+ssh://x", "file:..", "..",
    ".", "../a", "~/a", "/a", "a/b", "a.tgz", "npm:a@1", "1", "^1 || 2", " -e .", "a @ http://x", "a==1 --pre", "a\n-r b",
    "x:y", "\0", "é",
])  # fmt: skip
ANYTHING = HOSTILE | st.text("-@/:.~=a1 \n", max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@example({"x": ".."}, "npm")
@example({"--global": "1"}, "npm")
@given(st.dictionaries(ANYTHING, ANYTHING, max_size=6), st.sampled_from(["pip", "npm"]))
def test_no_address_path_or_option_of_a_project_is_on_a_command_line(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, pairs: dict[str, str], how: str
) -> None:
    lines = [text for pair in pairs.items() for text in (*pair, "".join(pair))]
    root = tmp_path_factory.mktemp("p")
    files = {
        "package.json": {"dependencies": pairs, "peerDependencies": pairs},
        "requirements.txt": "\n".join(lines),
        "pyproject.toml": f"[project]\ndependencies = {json.dumps(lines)}\n",
        "setup.py": f"setup(install_requires={lines!r})\n",
        "PKG-INFO": "".join(f"Requires-Dist: {line}\n" for line in lines),
    }
    commands: list[list[str]] = []
    run: Callable[..., bool] = lambda command, *_: commands.append(command) is not None  # noqa: E731
    monkeypatch.setattr(dependencies, "_run", run)
    installed(how, project(root / "sources", files), root, root / "kept")
    for command in commands:
        ours, names = command[: command.index("--")], command[command.index("--") + 1 :]
        to = next(word for word in ours if str(root / "kept") in word)
        assert ours == INSTALLERS[how].command(Path(to).parent if how == "pip" else Path(to))
        for name in names:
            bare, _, version = name.removeprefix("@").partition("@")
            assert not name.startswith(("-", ".", "/", "~")) and not version.startswith((".", "/", "~", "-"))
            assert bare.count("/") == name.startswith("@") and not set(":/\\\0") & set(version)
            assert ":" not in bare and "\0" not in bare

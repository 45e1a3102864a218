"""The editors that are on PATH, and what makes each use Starling."""

from __future__ import annotations

import shutil

from starling_lsp.findings import Finding

COMMAND = "set the command of its language servers to: starling --stdio"
EDITORS = {  # commands -> the editor's name, and what to do there
    ("nvim",): ("Neovim", "vim.opt.runtimepath:append(vim.trim(vim.fn.system('starling nvim-path'))), then vim.lsp.enable('starling')"),
    ("code", "codium", "code-server", "cursor", "windsurf"): ("VS Code", "install Starling's extension; it brings its own server"),
    ("emacs",): ("Emacs", "(add-to-list 'eglot-server-programs '(MODE . (\"starling\" \"--stdio\" \"--star-in\" \"detail\")))"),
    ("hx", "helix"): ("Helix", COMMAND),
    ("kak",): ("Kakoune", COMMAND),
    ("subl",): ("Sublime Text", COMMAND),
    ("zed", "zeditor"): ("Zed", COMMAND),
}  # fmt: skip


def editors() -> list[Finding]:
    """A finding an editor; one that none is on PATH, which is no fault."""
    found = [
        Finding(what=name, found=f"{where}; in it: {todo}")
        for commands, (name, todo) in EDITORS.items()
        if (where := next(filter(None, map(shutil.which, commands)), None))
    ]
    return found or [Finding(what="editors", found=f"none is on PATH; in any with language servers, {COMMAND}")]

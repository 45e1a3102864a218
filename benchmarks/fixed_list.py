"""A language server that answers completion with one fixed list, and nothing else."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def fixed_list(root: Path, completion: object) -> tuple[list[str], Callable[[], None]]:
    """The command of such a server, and what removes its files below `root`."""
    folder = Path(tempfile.mkdtemp(prefix="fake-", dir=root))
    script, data = folder / "fake.py", folder / "list.json"
    data.write_text(json.dumps(completion))
    script.write_text(FAKE)
    return [sys.executable, str(script), str(data)], lambda: shutil.rmtree(folder, ignore_errors=True)


FAKE = """\
import json, sys
listed = open(sys.argv[1], "rb").read()
read, write = sys.stdin.buffer, sys.stdout.buffer
while header := read.readline():
    length = int(header.split(b":")[1])
    read.readline()
    message = json.loads(read.read(length))
    if "id" not in message:
        if message["method"] == "exit":
            break
        continue
    results = {"initialize": b'{"capabilities":{"textDocumentSync":2,"completionProvider":{}}}',
               "textDocument/completion": listed}
    result = results.get(message["method"], b"null")
    body = b'{"jsonrpc":"2.0","id":%s,"result":%s}' % (json.dumps(message["id"]).encode(), result)
    write.write(b"Content-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
    write.flush()
"""

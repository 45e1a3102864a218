"""What Starling answers itself, on a pygls server: a file a method, registered in `registry`.

A feature looks like any of pygls: `@server.feature(types.…)`, typed parameters. It may answer with a result, which is put into
LSP's form, or with the bytes of a whole reply, which pass as they are. docs/extending.md has an example.
"""

# Known before pygls is loaded, which takes longer than everything else at the start.
OWNED = frozenset((
    "textDocument/completion", "completionItem/resolve", "starling/rank", "starling/restart", "starling/status",
))  # fmt: skip

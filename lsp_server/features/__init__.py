"""The requests that Starling answers itself: one file per method, registered on a pygls server by `registry`.

A feature is written as for any pygls server: `@server.feature(types.…)` and typed parameters. It returns a result, which is
encoded as LSP says, or the bytes of a whole response, which are sent unchanged. docs/extending.md has an example.
"""

# The methods, listed here so that they are known before pygls is loaded: loading it is the slowest part of the start.
OWNED = frozenset((
    "textDocument/completion", "completionItem/resolve", "starling/rank", "starling/restart", "starling/status",
))  # fmt: skip

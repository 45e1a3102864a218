"""JSON-RPC over byte streams, and child processes that speak it. Knows no method of LSP."""

"""JSON-RPC 2.0 over pipes: messages, frames and child processes. Knows no method of LSP."""

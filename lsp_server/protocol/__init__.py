"""LSP's capabilities and registrations."""

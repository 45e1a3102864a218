"""The open documents and notebooks: their texts, positions and URIs, and which notifications servers want."""

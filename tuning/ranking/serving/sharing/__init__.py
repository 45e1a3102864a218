"""Sharing what was trained: published into a folder, and followed from a folder, an https address or the hub."""

"""Texts and notebooks as the editor has them: positions, URIs, and what of their life a server wants to hear."""

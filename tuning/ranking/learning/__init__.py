"""How adapters and the blend are learned from recorded lists. Needs the extra [train]."""

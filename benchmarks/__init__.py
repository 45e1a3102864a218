"""What prints the figures that docs/figures.md quotes."""

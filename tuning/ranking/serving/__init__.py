"""What ranks a list: workspace index, signals, model, blend. Needs numpy, tree-sitter, tokenizers and a runtime; no torch."""

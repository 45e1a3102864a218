"""Counts which names are used in which contexts, over many repositories: `array` after `numpy`, `ValueError` after `raise`.

`contexts` defines the contexts of a place; the ranker and the counting share it. `counting` counts one file, `gathering` a corpus.
`counts` stores and adds counts. `building` makes tables of them, in which the ranker looks names up (`table`). Counts and tables
contain hashes, no text of a repository.
"""

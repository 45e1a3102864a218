"""Which names stand in which context, counted over many repositories: `array` after `numpy`, `ValueError` after `raise`.

`contexts` says what the contexts of a place are, live as in counting. `counting` reads repositories, `counts` keeps and adds up
what they gave, `table` is what the ranker looks names up in. Counts and tables hold hashes: no text of a repository is in them.
"""

"""RankBench: recorded lists of real wrapped servers at real positions, in code that nothing was trained on.

The lists are kept here without any source; `python -P -m corpus.rankbench fetch` brings the source back from where it was published.
"""

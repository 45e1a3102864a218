"""How good rankers are, on RankBench."""

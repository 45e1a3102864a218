"""The language model that ranks: prompts, runtimes, adapters, and where their files are."""

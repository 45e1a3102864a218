"""Names scored by a model that an OpenAI-compatible engine (vLLM) serves to a team."""

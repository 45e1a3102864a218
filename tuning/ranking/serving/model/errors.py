"""What can be wrong with the model that ranks.

ScorerError
  ScorerMissing    no model there, or not in a form that is read (safetensors only)
  ModelUnsupported the architecture does not score a tree of tokens as it scores text
"""


class ScorerError(Exception):
    """The model can't be used."""


class ScorerMissing(ScorerError):
    pass


class ModelUnsupported(ScorerError):
    pass

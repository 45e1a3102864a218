"""What can be wrong with the model that ranks.

ScorerError
  ScorerMissing    no model there, or not in a form that is read (safetensors only)
  ModelUnsupported the architecture does not score a tree of tokens as it scores text
  ModelFileBroken  a file of a model that is cut off, or is not what it says
  NeedsEngine      an adapter that only the PEFT engine can put into weights, which is not installed: carries what it is
"""

from corpus.interpreter import missing


class ScorerError(Exception):
    """The model can't be used."""


class ScorerMissing(ScorerError):
    pass


class ModelUnsupported(ScorerError):
    pass


class ModelFileBroken(ScorerError):
    pass


class NeedsEngine(ScorerError):
    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: this needs the PEFT engine. {missing('torch', extra='train')}")

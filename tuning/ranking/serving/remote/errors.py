"""What can be wrong with a team's engine.

RemoteError
  RemoteUnreachable  no connection, none that is trusted, or it was cut
  RemoteRefused      the engine answers with an error: a wrong token, an unknown model, too much to do
  RemoteNonsense     an answer that is none
    RemoteTooFew     fewer of the likeliest tokens than were asked for
  RemoteUnlike       a model or tokenizer that names can't be scored with
"""


class RemoteError(Exception):
    """The engine can't be used now."""


class RemoteUnreachable(RemoteError):
    pass


class RemoteRefused(RemoteError):
    pass


class RemoteNonsense(RemoteError):
    pass


class RemoteTooFew(RemoteNonsense):
    pass


class RemoteUnlike(RemoteError):
    pass

"""What can go wrong between what is installed and where a team shares it.

SharingError
  SourceRefused      an address, a token, a folder or a name that is not used; nothing was asked of anybody
  SourceUnreachable  what is published can't be reached or read; what is installed goes on
  EntryRefused       one entry, or a file of it, is not as it should be; the others go on
"""


class SharingError(Exception):
    """Something was not published, or not taken over."""


class SourceRefused(SharingError):
    pass


class SourceUnreachable(SharingError):
    pass


class EntryRefused(SharingError):
    pass

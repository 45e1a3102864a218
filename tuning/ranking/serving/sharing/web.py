"""Files behind an https address. A token goes to the host that the user named, and to no other that it redirects to.

http is for servers of this machine alone. The system's proxies and certificates count, as `urllib` reads them.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import PurePosixPath
from typing import Any, final
from urllib.parse import quote, urlsplit

from tuning.ranking.serving.remote.address import is_loopback
from tuning.ranking.serving.sharing.errors import EntryRefused, SharingError, SourceRefused, SourceUnreachable
from tuning.ranking.serving.sharing.publication import INDEX

SECONDS = 30  # without a byte, and the connection counts as lost
TOKEN = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)?")
DENIED = (401, 403)
PORTS = {"http": 80, "https": 443}


@final
class Web:
    """Static files beneath an address. Raises SourceRefused where it is not one to ask."""

    def __init__(self, address: str, token: str = "") -> None:
        """`token`: sent as `Authorization: Bearer TOKEN`; one of two words is sent as it is ("Basic …")."""
        self.name = checked_address(address.removesuffix(INDEX)).rstrip("/")
        if token and not TOKEN.fullmatch(token):
            raise SourceRefused("the token is not one line of visible ASCII characters")
        self._authorization = token if " " in token else f"Bearer {token}" if token else ""
        handlers: list[Any] = [_Redirects(self.name, self._authorization)]
        if is_of_this_machine(self.name):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    @contextlib.contextmanager
    def opened(self, place: PurePosixPath, most: int) -> Generator[http.client.HTTPResponse]:
        headers = {"User-Agent": "starling", **({"Cache-Control": "no-cache"} if place.name == INDEX else {})}
        request = urllib.request.Request(f"{self.name}/{quote(str(place))}", headers=headers)
        _authorize(request, self._authorization)
        try:
            reply = self._opener.open(request, timeout=SECONDS)
        except urllib.error.HTTPError as error:
            error.close()
            raise self._explained(place, error) from error
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: led to what is no address
            reason = getattr(error, "reason", None) or error
            raise SourceUnreachable(f"{self.name} could not be reached: {reason or type(error).__name__}") from error
        with reply:
            length = reply.headers.get("Content-Length", "")
            if length.isascii() and length.isdigit() and int(length) > most:
                raise EntryRefused(f"{place.name} is longer than the {most} bytes that are taken")
            yield reply

    def _explained(self, place: PurePosixPath, error: urllib.error.HTTPError) -> SharingError:
        """What a status means."""
        if error.code in (404, 410):
            return EntryRefused(f"{place} is not there ({error.code})")
        hint = ". Is the token right? See --token-file" if error.code in DENIED else ""
        said = str(error.reason).strip().split("\n")[0]
        return SourceUnreachable(f"{self.name} could not be read: {error.code} {said}{hint}")


@final
class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows few redirects, from https to https alone, and says the token to the first host alone."""

    max_redirections, max_repeats = 5, 2

    def __init__(self, address: str, authorization: str) -> None:
        self._address, self._authorization = address, authorization

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        try:
            checked_address(newurl, is_redirect=True)
            if urlsplit(newurl).scheme != urlsplit(self._address).scheme:
                raise SourceRefused("it leads to another protocol")
        except SourceRefused as error:
            raise SourceUnreachable(f"{self._address} leads elsewhere, where it is not followed: {error}") from error
        fresh = super().redirect_request(req, fp, code, msg, headers, newurl)
        if fresh is not None and _origin(newurl) == _origin(self._address):
            _authorize(fresh, self._authorization)
        return fresh


def _authorize(request: urllib.request.Request, authorization: str) -> None:
    if authorization:
        request.add_unredirected_header("Authorization", authorization)  # a redirect does not take it along


def checked_address(address: str, *, is_redirect: bool = False) -> str:
    """The address, if files may be asked for there. Raises SourceRefused, which repeats no more of it than its host."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SourceRefused(f"this is no address: {error}") from error
    if not host or parts.scheme not in PORTS:
        raise SourceRefused("a source is a folder, https://HOST/PATH or hf:OWNER/NAME")
    if parts.scheme == "http" and not is_of_this_machine(address):
        raise SourceRefused(f"http is for servers of this machine alone; {host} needs https")
    if not is_redirect and (parts.username is not None or parts.query or parts.fragment):
        raise SourceRefused(
            f"no password, '?' or '#' stands in the address of {host}: a token goes into a file (--token-file)"
        )
    return address


def is_of_this_machine(address: str) -> bool:
    return is_loopback(urlsplit(address).hostname or "")


def _origin(address: str) -> tuple[str, str, int]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname or "", parts.port or PORTS[parts.scheme]

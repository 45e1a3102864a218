"""Whether a file holds a secret: keys and tokens whose form is known, as detect-secrets knows them.

Its detectors by entropy and by variable names are left out: in source code they find far more hashes and test names than
secrets. Nothing is verified, which would ask the service that the secret is for.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ahocorasick_rs import BytesAhoCorasick
    from detect_secrets.plugins.base import BasePlugin

# What the patterns of these detectors have that ordinary code seldom has: most files have none of it.
_SIGNS = (
    b"A3T", b"ABIA", b"ACCA", b"AKIA", b"ASIA", b"aws", b"AWS", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"glpat-",
    b"xox", b"k_live_", b"pypi-Ag", b"sq0csp", b"SG.", b"T3Blbk", b"AccountKey=", b"PRIVATE KEY", b"eyJ",
)  # fmt: skip
_PASSWORD = re.compile(rb"://[^\s/@{}]*:[^\s/@{}]*@")


def has_secret(data: bytes) -> bool:
    """Whether any line holds a known kind of secret."""
    places = [start for _, start, _ in _signs().find_matches_as_indexes(data)]
    places += [found.start() for found in _PASSWORD.finditer(data)]
    for start in {data.rfind(b"\n", 0, place) + 1 for place in places}:
        end = data.find(b"\n", start)
        line = data[start : end if end >= 0 else len(data)].decode("utf-8", "replace")
        if any(True for detector in _detectors() for _ in detector.analyze_string(line)):
            return True
    return False


@cache
def _signs() -> BytesAhoCorasick:
    from ahocorasick_rs import BytesAhoCorasick

    return BytesAhoCorasick(_SIGNS)


@cache
def _detectors() -> tuple[BasePlugin, ...]:
    from detect_secrets.plugins import (
        aws,
        azure_storage_key,
        basic_auth,
        github_token,
        gitlab_token,
        jwt,
        openai,
        private_key,
        pypi_token,
        sendgrid,
        slack,
        square_oauth,
        stripe,
    )

    return (
        aws.AWSKeyDetector(),
        azure_storage_key.AzureStorageKeyDetector(),
        basic_auth.BasicAuthDetector(),
        github_token.GitHubTokenDetector(),
        gitlab_token.GitLabTokenDetector(),
        jwt.JwtTokenDetector(),
        openai.OpenAIDetector(),
        private_key.PrivateKeyDetector(),
        pypi_token.PypiTokenDetector(),
        sendgrid.SendGridDetector(),
        slack.SlackDetector(),
        square_oauth.SquareOAuthDetector(),
        stripe.StripeDetector(),
    )

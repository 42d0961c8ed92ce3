"""Credential detectors: tokens and keys that are known by their own form.

The forms are the issuers' documented ones; where an issuer says that lengths may change, only the prefix
and a least length count. Stands apart from `assignments`, which knows a secret by the name beside it.
"""

from __future__ import annotations

import re

from lockgate.govern.masking.detector import (
    BEFORE_WORD,
    REDACTED,
    Detector,
    Span,
    keep_first,
    matches,
    redacted,
)

_URL_SAFE = r"[A-Za-z0-9_-]"


_AWS_SECRET_NAME = r"(?i:secret_?-?(?:access_?-?)?key)"
_aws_ids = matches(r"(?<![A-Z0-9])(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])[A-Z0-9]{16}(?![A-Z0-9])")
_aws_secrets = matches(
    _AWS_SECRET_NAME + r"[\"']?[ ]{0,4}(?:=>?|:)[ ]{0,4}[\"']?([A-Za-z0-9/+=]{40})(?![A-Za-z0-9/+=])"
)
_aws_others = matches(
    r"(?<![A-Za-z0-9])(?:ABSK[A-Za-z0-9+/]{100,400}={0,2}"                          # Bedrock, long-lived
    r"|bedrock-api-key-[A-Za-z0-9+/=_-]{20,4000}"                                   # Bedrock, short-lived
    r"|(?:IQoJb3JpZ2lu|FwoGZXIvYXdz|FQoGZXIvYXdz|AQoDYXdz)[A-Za-z0-9+/=]{80,4000})"  # STS session token
)
_AWS_MEMBER = re.compile(_AWS_SECRET_NAME.encode() + rb"\Z")


def _aws_in(value: bytes) -> list[Span]:
    return [*_aws_ids(value), *_aws_secrets(value), *_aws_others(value)]


def _aws_partial(found: bytes) -> bytes:
    return found[:4] + REDACTED if len(found) == 20 else REDACTED


def _is_aws_member(name: bytes, value: bytes) -> bool:
    return bool(value) and _AWS_MEMBER.search(name) is not None


def _after_last_underscore(found: bytes) -> bytes:
    return found[: found.rindex(b"_") + 1] + REDACTED


def _github_partial(found: bytes) -> bytes:
    return (found[:11] if found.startswith(b"github_pat_") else found[:4]) + REDACTED


CREDENTIALS = (
    Detector(
        "jwt",
        r"eyJ[A-Za-z0-9_-]{5}",
        matches(
            rf"(?<![A-Za-z0-9_-])eyJ{_URL_SAFE}{{5,}}\.(?:eyJ{_URL_SAFE}{{5,}}\.{_URL_SAFE}*"
            rf"|{_URL_SAFE}*\.{_URL_SAFE}{{5,}}\.{_URL_SAFE}{{5,}}\.{_URL_SAFE}{{5,}})"      # RFC 7516, five parts
        ),
        keep_first(3),
    ),
    Detector(
        "pem_private_key",
        r"PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-|AGE-SECRET-KEY-1",
        matches(
            r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:[A-Za-z0-9+/=\s\\:.,()_]|-(?!----))*"
            r"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
            r"|PuTTY-User-Key-File-[0-9]:[A-Za-z0-9+/=\s\\:.,()_@-]*|AGE-SECRET-KEY-1[A-Z0-9]{20,100}"
        ),
        redacted,
    ),
    Detector(
        "aws_key",
        r"A(?:KIA|SIA|BIA|CCA|3T[A-Z0-9])[A-Z0-9]{16}|" + _AWS_SECRET_NAME
        + r"|ABSK[A-Za-z0-9+/]{20}|bedrock-api-key-|IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz|AQoDYXdz",
        _aws_in,
        _aws_partial,
        member=_is_aws_member,
        names=True,
    ),
    Detector(
        "gcp_key",
        r"AIza[A-Za-z0-9_-]{8}|AQ\.Ab[A-Za-z0-9_-]{8}|GOCSPX-|ya29\.[A-Za-z0-9_-]{8}|1//0[A-Za-z0-9_-]{8}",
        matches(
            rf"(?<![A-Za-z0-9_-])(?:AIza{_URL_SAFE}{{35}}(?!{_URL_SAFE})"   # API key
            rf"|AQ\.Ab{_URL_SAFE}{{40,250}}"                               # API key bound to an account, from 2026
            rf"|GOCSPX-{_URL_SAFE}{{20,40}}"                               # OAuth client secret
            rf"|ya29\.{_URL_SAFE}{{20,2000}}|1//0{_URL_SAFE}{{30,250}})"   # access and refresh token
        ),
        keep_first(4),
    ),
    Detector(
        "github_token",
        r"gh[pousr]_[A-Za-z0-9_.-]{8}|github_pat_[A-Za-z0-9_]",
        # Installation tokens (ghs_) may be JWTs with dots since 2026. None holds the beginning of another, so that
        # a row of beginnings is read once.
        matches(
            r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{36,255}|ghs_(?:[A-Za-z0-9]|[_-](?!ghs_)){20,1000}+(?:\.[A-Za-z0-9_-]+){1,2}"
            r"|github_pat_[A-Za-z0-9_]{22,255})"
        ),
        _github_partial,
    ),
    Detector(
        "slack_token",
        r"xox[a-z](?:-|\.xox[a-z]-)[0-9A-Za-z%]|x(?:app|wfp)-[0-9]|hooks\.slack\.com/",
        matches(
            r"(?<![A-Za-z0-9])(?:(?:xoxe\.)?xox[abcdeoprs]-[0-9A-Za-z%][0-9A-Za-z%+/=_-]{9,400}"
            r"|x(?:app|wfp)-[0-9]-[0-9A-Za-z-]{10,250}|xwfp-[0-9]{6,20}-[0-9A-Za-z-]{4,250}"
            r"|hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/]{20,100})"
        ),
        keep_first(5),
    ),
    Detector(
        "stripe_key",
        r"[sr]k_(?:live|test|org)_[A-Za-z0-9_]{8}|whsec_[A-Za-z0-9+/]{8}",
        matches(
            r"(?<![A-Za-z0-9])(?:[sr]k_(?:live|test)_[A-Za-z0-9]{10,250}|sk_org_(?:live_|test_)?[A-Za-z0-9]{10,250}"
            r"|whsec_[A-Za-z0-9+/]{24,250}={0,2})"
        ),
        _after_last_underscore,
    ),
    Detector(
        "anthropic_key",
        r"sk-ant-[A-Za-z0-9]",
        matches(r"(?<![A-Za-z0-9])sk-ant-[A-Za-z0-9]{3,12}-[A-Za-z0-9_-]{20,250}"),
        keep_first(7),
    ),
    Detector(
        "openai_key",
        BEFORE_WORD + r"sk-[A-Za-z0-9_-]{20}",
        matches(
            r"(?<![A-Za-z0-9])sk-(?!ant-)(?:(?:proj|svcacct|admin|None|service)-[A-Za-z0-9_-]{20,250}"
            r"|[A-Za-z0-9_-]{16,80}T3BlbkFJ[A-Za-z0-9_-]{16,120}|[A-Za-z0-9]{40,64}(?![A-Za-z0-9]))"
        ),
        keep_first(3),
    ),
)

"""Who is asking: OIDC tokens and client certificates become identities, by checks that reach no network and no clock.

Keys come as bytes, the time as a number; `lockgate.net.oidc` brings both. The checks are numbered
and in one place, `verification`.
"""

from lockgate.govern.identity.certificates import CertificateRules, ShownCertificate, identify, verify_binding
from lockgate.govern.identity.compact import TOKEN_LIMIT, UnverifiedToken, read_token
from lockgate.govern.identity.failures import Failure, failed
from lockgate.govern.identity.keys import KEY_SET_LIMIT, SUPPORTED, KeySet, VerifyingKey
from lockgate.govern.identity.rules import ProviderRules, index_providers
from lockgate.govern.identity.verification import select_provider, verify, verify_token

__all__ = [
    "KEY_SET_LIMIT", "SUPPORTED", "TOKEN_LIMIT", "CertificateRules", "Failure", "KeySet", "ProviderRules",
    "ShownCertificate", "UnverifiedToken", "VerifyingKey", "failed", "identify", "index_providers", "read_token",
    "select_provider", "verify", "verify_binding", "verify_token",
]

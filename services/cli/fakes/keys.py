"""Keys for play: everybody has them, so they open nothing but the fakes.

They are the same in every process, since the one that prints them is not the one that plays.
"""

import base64
import json
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

PROJECT = "fake-project"
TEAM = "FAKETEAM00"
KEY_ID = "FAKEKEY000"
TOPIC = "com.example.shop"
"""What `topic:` of the channel has to say."""

# Two primes: the key of a service account of Firebase has to be RSA.
_P = int(
    "fc393ebef2edb841a93fb3f2ca461bdd30789ce8cee598cebaf50a1b6efb47a3"
    "237a5649bbf53ab8ebaae0505b228447cc6b135ad016ab9797260284f3bbad0c"
    "e8b954f2b51dca189f7a746a7e057c5a1a75b37743764737dfa2cf3fb33a85b3"
    "5bf106f86e2629bfcfae3811f2d5d10e62be0a44ba50b9a110a38b870db3a247",
    16,
)
_Q = int(
    "b6405dc4dacc7e3a73e7a8c7d9b856898e607c843c92bb1615e7db233252d17d"
    "8cf97c17a094bc7c48126f048b644e47dc45477bfdb975a20bd70ad7b5415b5c"
    "cb7e200669931700f195b58a9173bc6a4a9b6429a54cae149bf007fbd2c82f03"
    "16706260f293d23ff04e3b505ea315173781ad507a0462f2651e43b31071914b",
    16,
)
_E = 65537


def firebase() -> rsa.RSAPrivateKey:
    d = rsa.rsa_recover_private_exponent(_E, _P, _Q)
    return rsa.RSAPrivateNumbers(
        _P,
        _Q,
        d,
        rsa.rsa_crt_dmp1(d, _P),
        rsa.rsa_crt_dmq1(d, _Q),
        rsa.rsa_crt_iqmp(_P, _Q),
        rsa.RSAPublicNumbers(_E, _P * _Q),
    ).private_key()


def apple() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(_raw("apple")), ec.SECP256R1())


def browsers() -> str:
    """As `DANGOL_VAPID_PRIVATE_KEY` has it."""
    return base64.urlsafe_b64encode(_raw("browsers")).rstrip(b"=").decode()


def browsers_public() -> str:
    """As the push service hears it."""
    key = ec.derive_private_key(int.from_bytes(_raw("browsers")), ec.SECP256R1())
    raw = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(whose: str) -> bytes:
    return sha256(f"a key for play, of {whose}".encode()).digest()


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account(url: str) -> str:
    """What `DANGOL_FCM_CREDENTIALS` has; `url` is the fake's own."""
    return json.dumps(
        {
            "project_id": PROJECT,
            "client_email": f"dangol@{PROJECT}.iam.example",
            "private_key": pem(firebase()),
            "token_uri": f"{url}/token",
        }
    )

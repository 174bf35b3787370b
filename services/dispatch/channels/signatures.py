"""How requests to vendors are signed: by the real clock, which they compare with theirs."""

import base64
import hmac
from collections.abc import Mapping
from hashlib import sha256
from secrets import token_hex

from shared.clock import Clock


def solapi_authorization(key: str, secret: str) -> str:
    """SOLAPI refuses what is 15 minutes apart, and a salt that it has seen.
    https://developers.solapi.com/references/authentication/api-key"""
    date, salt = Clock().now().isoformat(timespec="seconds"), token_hex(16)
    signature = hmac.new(secret.encode(), (date + salt).encode(), sha256).hexdigest()
    return f"HMAC-SHA256 apiKey={key}, date={date}, salt={salt}, signature={signature}"


def ncloud_headers(method: str, path: str, key: str, secret: str) -> Mapping[str, str]:
    """Naver Cloud refuses what is 5 minutes apart. `path` has its query, and no host.
    https://api.ncloud-docs.com/docs/common-ncpapi"""
    stamp = str(int(Clock().now().timestamp() * 1000))
    return {
        "x-ncp-apigw-timestamp": stamp,
        "x-ncp-iam-access-key": key,
        "x-ncp-apigw-signature-v2": ncloud_signature(method, path, stamp, key, secret),
    }


def ncloud_signature(method: str, path: str, stamp: str, key: str, secret: str) -> str:
    signed = f"{method} {path}\n{stamp}\n{key}".encode()
    return base64.b64encode(hmac.new(secret.encode(), signed, sha256).digest()).decode()

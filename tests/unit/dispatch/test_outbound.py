"""Which addresses may be called, and how a request is signed."""

import base64

import pytest

from services.dispatch.outbound.addresses import is_permitted
from shared.errors import ConfigurationError
from shared.standard_webhooks import headers, read_secrets

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
PRIVATE = [
    "10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "127.9.9.9", "::1", "fd12::1",
    "100.64.0.1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "::", "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "224.0.0.1",
    "ff02::1", "fd00:ec2::254", "100.100.100.200", "::ffff:169.254.169.254", "255.255.255.255",
    "240.0.0.1", "64:ff9b::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_the_public_internet_may_be_called(address: str) -> None:
    assert is_permitted(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_may_be_called_only_where_the_operator_has_named_the_host(
    address: str,
) -> None:
    assert not is_permitted(address)
    assert is_permitted(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_what_is_nobodys_address_or_hands_out_secrets_is_never_called(address: str) -> None:
    assert not is_permitted(address)
    assert not is_permitted(address, private=True)


@pytest.mark.parametrize("address", ["2002:a00:1::", "2001:0:4136:e378:8000:63bf:f5ff:fffe"])
def test_a_tunnel_leads_no_further_than_its_inner_address(address: str) -> None:
    assert not is_permitted(address)


def test_a_request_is_signed_as_the_standards_own_example() -> None:
    (secret,) = read_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "X")
    assert headers(
        [secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    ) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_a_secret_is_changed_both_sign() -> None:
    old, new = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    secrets = read_secrets(f"whsec_{new}, whsec_{old}", "X")
    signed = headers(secrets, "m", 1, b"{}")["webhook-signature"].split(" ")
    alone = [headers([secret], "m", 1, b"{}")["webhook-signature"] for secret in secrets]
    assert signed == alone
    assert len(set(signed)) == 2


@pytest.mark.parametrize("text", ["hello", "whsec_!!!", "whsec_c2hvcnQ="])
def test_a_secret_that_is_none_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_secrets(text, "DANGOL_WEBHOOK_SECRET")
    assert "DANGOL_WEBHOOK_SECRET" in str(caught.value)
    assert text.removeprefix("whsec_") not in str(caught.value)
    assert caught.value.hint

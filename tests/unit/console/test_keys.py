"""How keys look, and how far roles reach."""

import re

import pytest

from shared.keys import ROLES, Role, hash_of, new_key, reaches


def test_a_write_key_has_the_form_that_works_in_every_sdk() -> None:
    assert re.fullmatch(r"c[a-z0-9]{24}", new_key("write"))


@pytest.mark.parametrize("role", ROLES[1:])
def test_other_tokens_can_be_told_by_their_beginning(role: Role) -> None:
    assert re.fullmatch(r"dgl_[a-z0-9]{40}", new_key(role))


def test_no_two_keys_are_the_same() -> None:
    assert len({new_key("write") for _ in range(1000)}) == 1000


def test_only_a_hash_is_kept_whatever_the_key() -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", hash_of("키 \udc80"))
    assert hash_of("a") != hash_of("b")


def test_roles_reach_what_is_below_them_and_writing_is_apart() -> None:
    reach = {role: {needed for needed in ROLES if reaches(role, needed)} for role in ROLES}
    assert reach == {
        "write": {"write"},
        "viewer": {"viewer"},
        "marketer": {"viewer", "marketer"},
        "operator": {"viewer", "marketer", "operator"},
        "admin": {"write", "viewer", "marketer", "operator", "admin"},
    }

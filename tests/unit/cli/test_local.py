"""The admin token of a data folder."""

import stat
from pathlib import Path

import pytest

from services.cli.local import local_token, make_local_token
from shared.errors import DataFolderError


def test_a_token_is_made_once_and_found_again(tmp_path: Path) -> None:
    assert local_token(tmp_path) is None
    token = make_local_token(tmp_path)
    assert token.startswith("dgl_")
    assert make_local_token(tmp_path) == token
    assert local_token(tmp_path) == token


def test_only_its_owner_can_read_the_token(tmp_path: Path) -> None:
    make_local_token(tmp_path)
    assert stat.S_IMODE((tmp_path / "admin-token").stat().st_mode) == 0o600


def test_an_empty_token_is_none(tmp_path: Path) -> None:
    (tmp_path / "admin-token").write_text("\n")
    assert local_token(tmp_path) is None
    assert len(make_local_token(tmp_path)) == 44


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.write_text("")
    (tmp_path / "admin-token").symlink_to(target)
    make_local_token(tmp_path)
    assert target.read_text() == ""
    assert not (tmp_path / "admin-token").is_symlink()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataFolderError, match="admin token"):
        make_local_token(tmp_path / "nope")

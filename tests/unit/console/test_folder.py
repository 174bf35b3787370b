"""A workspace's folder, and what else may stand in it."""

import unicodedata
from pathlib import Path

import pytest

from services.console import folder as folders
from services.console.folder import read_folder
from shared import workspace_store
from shared.errors import BadInput


def write(root: Path, *paths: str) -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode())


def test_what_belongs_to_a_workspace_is_read_and_nothing_else(tmp_path: Path) -> None:
    mine = [
        "dangol.yaml",
        "journeys/a.yaml",
        "journeys/deep/b.yaml",
        "segments/s.yaml",
        "templates/t/email.ko.liquid",
        "tests/t.yaml",
    ]
    write(tmp_path, *mine, ".git/config", "README.md", "journeys/.a.yaml.swp", "other/x.yaml")
    write(tmp_path, "templates/.DS_Store", "journeys/.hidden/c.yaml")
    assert read_folder(tmp_path) == {path: path.encode() for path in mine}


def test_names_are_composed_whatever_the_file_system_makes_of_them(tmp_path: Path) -> None:
    name = unicodedata.normalize("NFD", "templates/환영/sms.liquid")
    write(tmp_path, name)
    assert list(read_folder(tmp_path)) == ["templates/환영/sms.liquid"]


def test_a_folder_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        read_folder(tmp_path / "nope")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="is a file"):
        read_folder(tmp_path / "file")


def test_a_folder_without_a_workspace_says_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no workspace") as none:
        read_folder(tmp_path)
    assert "dangol.yaml" in none.value.hint
    write(tmp_path, "workspace/dangol.yaml")
    with pytest.raises(BadInput, match="no workspace") as below:
        read_folder(tmp_path)
    assert str(tmp_path / "workspace") in below.value.hint


def test_a_folder_that_is_far_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "templates/t").mkdir(parents=True)
    with (tmp_path / "templates/t/big.liquid").open("wb") as file:
        file.truncate(folders.MOST_BYTES + 1)
    with pytest.raises(BadInput, match="too large"):
        read_folder(tmp_path)


def test_a_folder_has_the_limits_of_a_zip() -> None:
    assert folders.MOST_FILES == workspace_store.MAX_FILES
    assert folders.MOST_BYTES == workspace_store.MAX_BYTES

"""`dangol init`: a workspace that validates and tests green, and nothing overwritten."""

import json
from pathlib import Path

import pytest

from services.cli.app import call
from services.cli.library import DEFAULT


def files(folder: Path) -> set[str]:
    return {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_new_workspace_validates_and_tests_green(
    tmp_path: Path, language: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = tmp_path / "shop"
    assert call(["init", str(shop), "--lang", language]) == 0
    said = capsys.readouterr()
    assert [line.partition(":")[0] for line in said.out.splitlines()[: len(DEFAULT)]] == [*DEFAULT]
    assert said.err == ""
    assert call(["validate", str(shop)]) == 0
    assert call(["test", str(shop)]) == 0
    assert {"README.md", "dangol.yaml", ".github/workflows/journeys.yml"} < files(shop)


def test_it_brings_exactly_what_was_chosen_and_what_that_needs(tmp_path: Path) -> None:
    assert call(["init", str(tmp_path), "--with", "win-back,browse", "--with", "win-back"]) == 0
    found = files(tmp_path)
    assert {f for f in found if f.startswith("journeys/")} == {
        "journeys/browse-abandonment.yaml", "journeys/win-back.yaml",
        "journeys/consent-renewal.yaml", "journeys/consent-result.yaml",  # the pack's
    }  # fmt: skip
    assert {f for f in found if f.startswith("segments/")} == {
        "segments/lapsed.yaml", "segments/open-to-ads.yaml",
    }  # fmt: skip
    assert {f.split("/")[1] for f in found if f.startswith("templates/")} == {
        "browse-again", "winback-benefit", "winback-last", "winback-news",
        "consent-renewal", "consent-result",
    }  # fmt: skip
    assert "\nrfm:\n" in (tmp_path / "dangol.yaml").read_text()


def test_to_a_workspace_that_is_there_it_adds_what_is_asked_for_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["init", str(tmp_path), "--with", "birthday"]) == 0
    for name in ("consent-renewal", "consent-result"):
        (tmp_path / f"journeys/{name}.yaml").unlink()
    assert call(["init", str(tmp_path), "--with", "browse"]) == 0
    assert "journeys/consent-result.yaml" not in files(tmp_path)
    capsys.readouterr()
    assert call(["validate", str(tmp_path)]) == 0
    assert "dangol init . --lang ko --with consent-result" in capsys.readouterr().err


def test_what_is_there_stays_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("mine")
    assert call(["init", str(tmp_path), "--with", "birthday"]) == 0
    assert (tmp_path / "README.md").read_text() == "mine"
    assert capsys.readouterr().err == "README.md was there already and stays as it is\n"
    assert call(["init", str(tmp_path), "--with", "birthday"]) == 0
    assert "wrote 0 files" in capsys.readouterr().out


def test_what_does_not_fit_to_what_is_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dangol.yaml").write_text("channels:\n  email: {adapter: log}\n")
    assert call(["init", str(tmp_path), "--with", "birthday"]) == 1
    said = capsys.readouterr().err
    assert "journeys/birthday.yaml:" in said
    assert "do not fit together yet" in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--with", "wellcome"], "`welcome`"),
        (["--lang", "jp"], "neither ko nor en"),
        (["--lang", "en", "--opt-out", "080-1"], "no 080 number"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(
    tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["init", str(tmp_path), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert files(tmp_path) == set()


def test_the_readme_lists_the_examples_that_are_left(tmp_path: Path) -> None:
    assert call(["init", str(tmp_path), "--with", "tier", "--phone", "02-123-4567"]) == 0
    readme = (tmp_path / "README.md").read_text()
    assert "| `080-000-0000` |" in readme
    assert "| `template_code: EXAMPLE-…` |" in readme
    assert "대표 전화" not in readme


def test_the_shop_stands_in_every_text_and_no_example_is_left(tmp_path: Path) -> None:
    about = {
        "--shop": "참고상점", "--shop-en": "Sample Shop", "--phone": "02-123-4567",
        "--opt-out": "080-123-4567", "--email": "hi@sample.test", "--address": "서울시 참고구",
        "--address-en": "Sample-gu, Seoul", "--site": "https://sample.test/",
    }  # fmt: skip
    arguments = [word for pair in about.items() for word in pair]
    assert call(["init", str(tmp_path), "--with", "all", *arguments]) == 0
    for file in files(tmp_path):
        text = (tmp_path / file).read_text()
        for example in ("000-0000", "shop.example", "(예시)", "(example)", "test//"):
            assert example not in text, file
    assert (
        "(광고)[참고상점] 02-123-4567\n"
        in (tmp_path / "templates/cart-benefit/sms.liquid").read_text()
    )
    assert (
        "https://sample.test/dangol/coupons"
        in (tmp_path / "journeys/first-purchase.yaml").read_text()
    )


def test_a_name_that_would_break_the_texts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["init", str(tmp_path / "shop"), "--shop", '상점"{{']) == 1
    assert "cannot stand in a message" in capsys.readouterr().err
    assert files(tmp_path) == set()


def test_the_list_shows_names_classes_and_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["init", "--list", "--lang", "en", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 21
    assert rows[0]["name"] == "welcome"
    assert rows[0]["class"] == "information + advertising"
    assert {row["name"] for row in rows if row["default"]} == {*DEFAULT}
    assert call(["init", "--list"]) == 0
    assert "장바구니 이탈" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_to_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop").write_text("a file")
    assert call(["init", str(tmp_path / "shop")]) == 1
    assert "cannot write to" in capsys.readouterr().err

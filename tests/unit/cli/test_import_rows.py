"""A file's lines as events, and what is said of lines that are none."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.cli.importing.rows import Row, rows_of
from services.ingest.normalise import Scene
from shared.errors import BadInput

SCENE = Scene(datetime(2026, 11, 22, 12, tzinfo=UTC), "import")


def rows(tmp_path: Path, text: str | bytes, name: str = "f.csv", **names: str) -> list[Row]:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(rows_of(file, names, SCENE))


def events(found: list[Row]) -> list[dict[str, Any]]:
    assert [row.error for row in found if row.error] == []
    made = [json.loads(row.event) for row in found]
    for event in made:
        assert event.pop("messageId").startswith("import:")
    return made


def errors(found: list[Row]) -> list[tuple[int, str]]:
    return [(row.line, row.error) for row in found if row.error]


def test_a_row_without_an_event_is_a_customer_with_traits_and_consents(tmp_path: Path) -> None:
    text = (
        "userId,email,phone,points:number,vip:boolean,tags:json,consent.email,consent_source\n"
        'u1,a@shop.example,01012345678,120,yes,"[1,2]",true,"paper form, 2023"\n'
        "u2,,,,,,no,\n"
    )
    assert events(rows(tmp_path, text)) == [
        {
            "userId": "u1",
            "type": "identify",
            "context": {"consent_source": "paper form, 2023"},
            "traits": {
                "email": "a@shop.example",
                "phone": "01012345678",
                "points": 120,
                "vip": True,
                "tags": [1, 2],
                "consent": {"email": True},
            },
        },
        {"userId": "u2", "type": "identify", "traits": {"consent": {"email": False}}},
    ]


def test_a_row_with_an_event_is_a_past_event(tmp_path: Path) -> None:
    text = "userId,event,timestamp,total:number,properties.userId\nu1,Bought,2024-02-01,9.5,x\n"
    assert events(rows(tmp_path, text)) == [
        {
            "userId": "u1", "type": "track", "event": "Bought", "timestamp": "2024-02-01",
            "properties": {"total": 9.5, "userId": "x"},
        }
    ]  # fmt: skip


def test_columns_may_be_read_under_other_names(tmp_path: Path) -> None:
    text = "number,E-mail\nu1,a@shop.example\n"
    names = {"number": "userId", "E-mail": "traits.email"}
    (event,) = events(rows(tmp_path, text, **names))
    assert (event["userId"], event["traits"]) == ("u1", {"email": "a@shop.example"})


def test_excel_s_mark_quotes_line_breaks_and_empty_lines_are_read(tmp_path: Path) -> None:
    text = '\ufeffuserId,note\r\nu1,"two\r\nlines, ""quoted"""\r\n\r\n,\r\nu2,x\r\n'
    found = rows(tmp_path, text)
    assert [event["userId"] for event in events(found)] == ["u1", "u2"]
    assert [(row.line, row.last) for row in found] == [(2, 3), (6, 6)]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("u1,,many,", "no number"),
        ("u1,,,maybe", "neither true nor false"),
        (",,1,", "no_identity"),
        ("u1,,1,yes,more", "5 cells, but only 4 columns"),
        ("x" * 300 + ",,,", "id_too_long"),
        ("u1,Bought,1,yes", "no traits"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_with_its_line(
    tmp_path: Path, row: str, said: str
) -> None:
    found = rows(tmp_path, f"userId,event,points:number,consent.email\nu1,,1,yes\n{row}\nu2,,,\n")
    ((line, error),) = errors(found)
    assert line == 3
    assert said in error
    assert len(found) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("name,email\nx,y\n", "no column says who"),
        ("userId,userId\nx,y\n", "two columns"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        rows(tmp_path, text)


def test_a_renamed_column_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no column `number`"):
        rows(tmp_path, "userId\nu1\n", number="userId")


def test_ndjson_is_what_sdks_send_and_keeps_its_ids(tmp_path: Path) -> None:
    good = {"type": "track", "event": "Bought", "userId": "u1", "messageId": "m1"}
    text = "\n".join(
        [json.dumps(good), "", "{", "[1]", '{"type": "track"}', '{"type": "identify", "userId": 7}']
    )
    found = rows(tmp_path, text, "f.ndjson")
    assert json.loads(found[0].event) == good
    assert [line for line, _ in errors(found)] == [3, 4, 5]
    assert [error for _, error in errors(found)][1:] == ["not_an_object", "no_identity"]
    assert json.loads(found[-1].event)["userId"] == 7


def test_the_same_line_has_the_same_id_wherever_it_stands(tmp_path: Path) -> None:
    one = rows(tmp_path, "userId,a\nu1,x\nu2,y\n")
    other = rows(tmp_path, "userId,a\nu2,y\n")
    assert one[1].event == other[0].event


def test_it_goes_on_from_any_row_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    for name, text in (
        ("f.csv", 'userId,n\nu1,"a\nb"\nu2,\nu3,x\n'),
        ("f.ndjson", '{"userId":"u1","type":"identify"}\n\n{"userId":"u2","type":"identify"}'),
    ):
        whole = rows(tmp_path, text, name)
        for place, row in enumerate(whole):
            rest = list(rows_of(tmp_path / name, {}, SCENE, offset=row.end, line=row.last))
            assert rest == whole[place + 1 :]


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    text = b'{"a":"' + b"x" * 3_000_000 + b'"}\n{"userId":"u1","type":"identify"}\n'
    found = rows(tmp_path, text, "f.ndjson")
    assert [line for line, _ in errors(found)] == [1]
    assert len(found[0].content) < 300_000
    assert found[1].line == 2

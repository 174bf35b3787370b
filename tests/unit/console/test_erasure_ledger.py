"""The ledger of erasures as a file: whole lines, only ever more of them."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from services.console.erasure_ledger import Entry, Ledger
from shared.errors import ConfigurationError

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


def entry(name: str, *customers: str) -> Entry:
    return Entry("0123", name, AT, "kim", customers or ("h1",))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "erasures.ndjson")


def test_what_is_appended_is_read_again(ledger: Ledger) -> None:
    assert ledger.read() == {}
    ledger.append([])
    assert not ledger.path.exists()
    ledger.append([entry("e1")])
    ledger.append([entry("e2", "h2", "h3")])
    assert ledger.read() == {"e1": entry("e1"), "e2": entry("e2", "h2", "h3")}


def test_a_later_line_of_an_erasure_adds_the_ids_that_were_learnt_since(ledger: Ledger) -> None:
    ledger.append([entry("e1", "h1"), entry("e1", "h1", "h2")])
    assert ledger.read() == {"e1": entry("e1", "h1", "h2")}


def test_an_unfinished_last_line_is_left_out_and_written_over(ledger: Ledger) -> None:
    ledger.append([entry("e1"), entry("e2")])
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole[:-9])
    assert list(ledger.read()) == ["e1"]
    ledger.append([entry("e3")])
    assert list(ledger.read()) == ["e1", "e3"]
    ledger.path.write_bytes(b'{"inst')
    ledger.append([entry("e4")])
    assert list(ledger.read()) == ["e4"]


def test_a_line_that_is_none_is_told_with_its_place(ledger: Ledger) -> None:
    ledger.append([entry("e1")])
    with ledger.path.open("ab") as file:
        file.write(b"\n" + b'{"id": 7}' + b"\n")
    with pytest.raises(ConfigurationError, match=r"erasures\.ndjson:3 is no line"):
        ledger.read()


def test_a_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read") as caught:
        Ledger(tmp_path).read()
    assert "DANGOL_ERASURE_LEDGER" in caught.value.hint
    with pytest.raises(ConfigurationError, match="cannot write"):
        Ledger(tmp_path / "none" / "file").append([entry("e1")])


def test_it_names_no_customer(ledger: Ledger) -> None:
    ledger.append([entry("e1")])
    [line] = ledger.path.read_bytes().splitlines()
    fields = msgspec.json.decode(line)
    assert set(fields) == {"installation", "id", "requested_at", "requested_by", "customers"}

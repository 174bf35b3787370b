"""What a candidate would change, compared without a database."""

from services.console.candidate import Candidate, hash_of_files, read_candidate
from services.console.changes import (
    NOTHING,
    Base,
    FileChange,
    Version,
    compare_files,
    compare_journeys,
)
from services.journey.language.workspace import JourneySource
from shared.clock import EPOCH
from shared.workspace import WorkspaceSettings


def candidate(files: dict[str, bytes] | None = None, **sources: str) -> Candidate:
    journeys = {
        name: JourneySource(name, "", "marketing", 50, f"journeys/{name}.yaml", text, f"#{text}")
        for name, text in sources.items()
    }
    every = {**(files or {}), **{f"journeys/{n}.yaml": t.encode() for n, t in sources.items()}}
    return Candidate(every, hash_of_files(every), WorkspaceSettings(), journeys, {})


def base(files: dict[str, bytes] | None = None, **journeys: int) -> Base:
    return Base(1, "", EPOCH, files or {}, journeys)


def versions(*texts: str) -> list[Version]:
    return [Version(number, f"#{text}", text) for number, text in enumerate(texts, 1)]


def compare(
    wanted: Candidate, published: Base, **known: list[Version]
) -> dict[str, tuple[str, int | None, int | None, bool]]:
    changes = compare_journeys(wanted, published, known)
    return {c.journey: (c.change, c.was, c.version, c.is_new) for c in changes}


def test_a_first_publish_adds_version_one() -> None:
    assert compare(candidate(a="x"), NOTHING) == {"a": ("added", None, 1, True)}


def test_other_content_is_the_next_version() -> None:
    changes = compare(candidate(a="z"), base(a=2), a=versions("x", "y"))
    assert changes == {"a": ("changed", 2, 3, True)}


def test_content_of_before_is_its_version_of_before() -> None:
    changes = compare(candidate(a="x"), base(a=2), a=versions("x", "y"))
    assert changes == {"a": ("changed", 2, 1, False)}


def test_a_journey_that_comes_back_keeps_its_versions() -> None:
    assert compare(candidate(a="x"), base(), a=versions("x")) == {"a": ("added", None, 1, False)}
    assert compare(candidate(a="y"), base(), a=versions("x")) == {"a": ("added", None, 2, True)}


def test_a_journey_without_its_file_is_removed() -> None:
    changes = compare(candidate(b="x"), base(a=1, b=1), a=versions("x"), b=versions("x"))
    assert changes == {"a": ("removed", 1, None, False), "b": ("unchanged", 1, 1, False)}


def test_the_difference_is_unified_and_names_both_versions() -> None:
    (change,) = compare_journeys(candidate(a="1\n2\n"), base(a=1), {"a": versions("1\n3\n")})
    assert change.diff.splitlines() == [
        "--- journeys/a.yaml (v1)",
        "+++ journeys/a.yaml (v2)",
        "@@ -1,2 +1,2 @@",
        " 1",
        "-3",
        "+2",
    ]


def test_files_that_are_no_journeys_are_compared_by_content() -> None:
    wanted = candidate(
        {"dangol.yaml": b"new", "templates/a/sms.liquid": b"same", "tests/t.yaml": b"1"}, a="x"
    )
    before = base(
        {
            "dangol.yaml": b"old",
            "templates/a/sms.liquid": b"same",
            "segments/s.yaml": b"1",
            "journeys/a.yaml": b"older",
            "journeys/gone.yaml": b"1",
        }
    )
    changes = compare_files(wanted, before)
    assert [(c.file, c.change) for c in changes] == [
        ("dangol.yaml", "changed"),
        ("segments/s.yaml", "removed"),
        ("tests/t.yaml", "added"),
    ]
    assert changes[1] == FileChange("segments/s.yaml", "removed")
    assert "-old\n+new" in changes[0].diff


def test_the_hash_of_files_tells_names_and_contents_apart() -> None:
    hashes = [
        hash_of_files(files)
        for files in (
            {},
            {"a": b""},
            {"a": b"b"},
            {"ab": b""},
            {"a": b"", "b": b""},
            {"a": b"0 1 b"},
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert hash_of_files({"a": b"1", "b": b"2"}) == hash_of_files({"b": b"2", "a": b"1"})


def test_settings_that_are_stored_are_read_back_the_same() -> None:
    text = b"""
timezone: Asia/Seoul
country: KR
policies:
  quiet_hours:
    - {category: marketing, from: "20:50", to: "08:00", then: hold}
    - {channels: [email], never: true}
  frequency_caps: [{category: marketing, limit: 2, per: 24h}]
  expire_after: 1w
channels:
  email: {adapter: smtp, from: "Shop <hello@shop.example>", rate: 50/s}
  sms: {adapter: log}
"""
    settings = read_candidate({"dangol.yaml": text}).settings
    stored = settings.model_dump(mode="json", by_alias=True)
    assert WorkspaceSettings.model_validate(stored) == settings
    assert settings.policies.quiet_hours[0].start is not None

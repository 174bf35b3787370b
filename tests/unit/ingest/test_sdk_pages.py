"""Each page of docs/sdks is tried by tests/acceptance/test_sdks.py, and can be found."""

from tests.sdks.running import PAGES, SDKS


def test_each_page_is_tried_and_found() -> None:
    pages = {page.stem for page in PAGES.glob("*.md")}
    assert pages == {sdk.page for sdk in SDKS if sdk.page}
    index = (PAGES.parent / "ingest.md").read_text()
    assert {page for page in pages if f"(sdks/{page}.md)" in index} == pages

"""Pictures of MMS: what `image` may name, and what is refused at validation."""

import struct

import pytest

from services.journey.language.problems import Problem
from services.journey.language.workspace import load_workspace
from shared.images import dimensions_of


def jpeg(width: int = 640, height: int = 480, size: int = 1000) -> bytes:
    """As little of a JPEG as has a size: a JFIF segment, then a frame header."""
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    head = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + frame
    return head + b"\0" * (size - len(head))


def problems(
    image: str = "sale.jpg", adapter: str = "solapi", **files: bytes
) -> list[tuple[str, int]]:
    text = f"---\ntitle: 새 원두\nimage: {image}\n---\n새 원두가 나왔어요\n"
    loaded = load_workspace(
        {
            "dangol.yaml": f'channels: {{sms: {{adapter: {adapter}, from: "02-1"}}}}\n'.encode(),
            "templates/new/sms.liquid": text.encode(),
            **{f"templates/{path.replace('__', '/')}.jpg": data for path, data in files.items()},
        }
    )
    return [_shown(problem) for problem in loaded.problems]


def _shown(problem: Problem) -> tuple[str, int]:
    assert problem.code == "picture"
    assert problem.hint
    return problem.message, problem.line


@pytest.mark.parametrize("path", ["new__sale", "images__sale"])
def test_a_picture_lies_beside_the_template_or_in_images(path: str) -> None:
    files = {path: jpeg()}
    assert problems("sale.jpg", "solapi", **files) == []
    assert problems('"sale.jpg"', "solapi", **files) == []


@pytest.mark.parametrize("image", ["ST01FZ0000", "307917", "https://shop.example/sale.jpg"])
def test_a_vendor_s_id_and_an_address_are_not_looked_at(image: str) -> None:
    assert problems(image=image) == []


def test_what_only_sending_can_tell_is_left_to_it() -> None:
    assert problems(image='"{{ trigger.image }}"') == []


@pytest.mark.parametrize(
    ("image", "adapter", "content", "said"),
    [
        ("sale.jpg", "solapi", None, "there is no picture `sale.jpg`"),
        ("sale.png", "solapi", jpeg(), "no picture that MMS carries"),
        ("sale.jpg", "solapi", b"\x89PNG\r\n", "it is no JPEG"),
        ("sale.jpg", "solapi", jpeg()[:20], "it is no JPEG"),
        ("sale.jpg", "solapi", jpeg(size=200_001), "200,001 bytes, at most 200,000"),
        ("sale.jpg", "nhn", jpeg(size=300_001), "300,001 bytes, at most 300,000"),
        ("sale.jpg", "nhn", jpeg(1501, 10), "1501 × 10, at most 1,500 × 1,440"),
        ("sale.jpg", "nhn", jpeg(10, 1441), "10 × 1441, at most 1,500 × 1,440"),
        ("sale.jpg", "aligo", jpeg(size=300_001), "300,001 bytes, at most 300,000"),
        ("sale.jpg", "twilio", jpeg(), "twilio takes no pictures from files"),
    ],
)
def test_what_no_carrier_takes_is_refused_in_its_place(
    image: str, adapter: str, content: bytes | None, said: str
) -> None:
    files = {} if content is None else {"new__sale": content}
    ((message, line),) = problems(image, adapter, **files)
    assert said in message
    assert line == 3


def test_nhn_takes_what_is_too_large_for_solapi() -> None:
    assert problems(adapter="nhn", new__sale=jpeg(size=250_000)) == []


@pytest.mark.parametrize("length", range(0, 40, 3))
def test_a_picture_that_is_cut_off_has_no_size(length: int) -> None:
    assert dimensions_of(jpeg()[:length]) in (None, (640, 480))
    assert dimensions_of(b"\xff\xd8" + b"\xff" * length) is None

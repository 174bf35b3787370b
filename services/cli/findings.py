"""What `dangol doctor` says of one thing that it has looked at."""

from dataclasses import dataclass
from typing import Literal

from shared.errors import DangolError

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    verdict: Verdict
    message: str
    hint: str = ""

    @classmethod
    def of(cls, check: str, error: DangolError) -> "Finding":
        return cls(check, "fail", str(error), error.hint)

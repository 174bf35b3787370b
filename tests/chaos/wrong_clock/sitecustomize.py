"""A machine whose clock is wrong, for a process that finds this folder first on its path.

Python imports it before the program. All of Dangol reads the time in one place (the linter holds
that), or as `time.time` where the signatures of others ask for real time; both are so much off.
"""

import os
import time
from datetime import datetime, timedelta, tzinfo

from shared import clock

_SECONDS = int(os.environ["CLOCK_OFF_SECONDS"])
_right = time.time  # noqa: TID251 - stands for it


class _Wrong:
    @staticmethod
    def now(zone: tzinfo) -> datetime:
        return datetime.now(zone) + timedelta(seconds=_SECONDS)  # noqa: TID251 - stands for it


clock.datetime = _Wrong  # type: ignore[assignment,attr-defined]
time.time = lambda: _right() + _SECONDS  # noqa: TID251 - stands for it

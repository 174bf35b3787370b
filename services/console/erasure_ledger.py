"""The ledger of erasures: a file outside the database, by which a restored backup is erased again.

One JSON object a line, only ever appended to. It names nobody: customers stand in it by the keyed
hash that an erasure leaves of them anyway, whose key is in the database and in its backups. So it
may be kept, and copied, for as long as there are backups.
"""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from shared.errors import ConfigurationError


class Entry(msgspec.Struct, frozen=True):
    """One erasure that was asked for."""

    installation: str
    """Whose hashes these are (`shared.db.installation.installation_id`)."""
    id: str
    requested_at: datetime
    requested_by: str
    customers: tuple[str, ...]
    """Keyed hashes: the customer's, then those of the ids known to be theirs."""


class Ledger:
    """The file. It need not be there yet; folders are not made."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Entry]:
        """By request; a later line of a request adds its hashes. Raises ConfigurationError.

        An unfinished last line, of a write that a crash cut off, is left out: the database has that
        erasure, and tells it to the ledger again.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable("read", error) from error
        found: dict[str, Entry] = {}
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            if not line.strip():
                continue
            try:
                entry = msgspec.json.decode(line, type=Entry)
            except msgspec.MsgspecError as error:
                raise ConfigurationError(
                    f"{self.path}:{number} is no line of a ledger of erasures: {error}",
                    hint="take a copy of the ledger that is whole, or mend the line",
                ) from error
            known = found.get(entry.id)
            if known is not None:
                both = tuple(dict.fromkeys((*known.customers, *entry.customers)))
                entry = msgspec.structs.replace(known, customers=both)
            found[entry.id] = entry
        return found

    def append(self, entries: Iterable[Entry]) -> None:
        """Durable when it returns. Raises ConfigurationError."""
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        if not lines:
            return
        try:
            self._cut_unfinished()
            with self.path.open("ab") as file:
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unusable("write", error) from error

    def _cut_unfinished(self) -> None:
        content = self.path.read_bytes() if self.path.exists() else b""
        if content and not content.endswith(b"\n"):
            os.truncate(self.path, content.rfind(b"\n") + 1)

    def _unusable(self, what: str, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"cannot {what} the ledger of erasures {self.path}: {error.strerror}",
            hint="DANGOL_ERASURE_LEDGER names a file in a folder that this process may write to",
        )

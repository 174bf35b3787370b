"""Dangol's own error tree. Foreign errors are mapped to it where they enter, always with `from`.

DangolError
├── ConfigurationError      settings, workspace or environment: a person must mend them
│   ├── DataFolderError     the data folder cannot be used (taken, read-only, too new)
│   ├── DatabaseUnreachable the database URL leads nowhere
│   └── LogUnreachable      the log URL leads nowhere
├── BadInput                the caller sent something that cannot be used (HTTP 4xx)
│   ├── Unauthorized        no key, an unknown or revoked key (401)
│   ├── Forbidden           a known key whose role does not reach (403)
│   ├── NotFound            (404)
│   └── Conflict            (409)
├── Unavailable             our own trouble, try again later (HTTP 503 and `Retry-After`)
└── PartitionLost           another owner has raised the partition's epoch: drop the cache, let go
"""

from typing import ClassVar


class DangolError(Exception):
    """Something that a person can act on.

    `code` is the stable word that programs match on, `str(error)` the sentence for a person and
    `hint` says how to mend it.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())
        self.hint = hint


class ConfigurationError(DangolError):
    """The configuration cannot be used."""

    code = "configuration"


class DataFolderError(ConfigurationError):
    """The data folder cannot be used."""

    code = "data_folder"


class DatabaseUnreachable(ConfigurationError):
    """The database cannot be reached."""

    code = "database_unreachable"
    status = 503


class LogUnreachable(ConfigurationError):
    """The event log cannot be reached."""

    code = "log_unreachable"
    status = 503


class BadInput(DangolError):
    """The request cannot be used."""

    code = "bad_request"
    status = 400


class Unauthorized(BadInput):
    """The key is missing, unknown or revoked."""

    code = "unauthorized"
    status = 401


class Forbidden(BadInput):
    """The key's role does not reach this far."""

    code = "forbidden"
    status = 403


class NotFound(BadInput):
    """There is no such thing."""

    code = "not_found"
    status = 404


class Conflict(BadInput):
    """The state has changed in the meantime."""

    code = "conflict"
    status = 409


class Unavailable(DangolError):
    """Not available right now; try again."""

    code = "unavailable"
    status = 503


class PartitionLost(DangolError):
    """The partition has another owner now."""

    code = "partition_lost"

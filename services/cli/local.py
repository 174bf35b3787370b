"""Where a Dangol on this machine is found, and the token that its own person uses."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.console.erasure_ledger import Ledger
    from shared.settings import Settings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8420
DEFAULT_SERVER = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"
DEFAULT_DATA = Path(".dangol")
_LEDGER_FILE = "erasures.ndjson"
_TOKEN_FILE = "admin-token"  # noqa: S105 - a file's name


def local_token(data_dir: Path) -> str | None:
    """The admin token of the `dangol up` that runs on this data folder; None if it has none."""
    try:
        token = (data_dir / _TOKEN_FILE).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None
    return token or None


def make_local_token(data_dir: Path) -> str:
    """The data folder's admin token, made on first use, readable by its owner only.

    Raises DataFolderError.
    """
    from shared.db.data_folder import folder_error
    from shared.keys import new_key

    token = local_token(data_dir)
    if token is not None:
        return token
    token = new_key("admin")
    path = data_dir / _TOKEN_FILE
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
    except OSError as error:
        raise folder_error(error, f"write the admin token into {data_dir}") from error
    return token


def erasure_ledger(settings: "Settings", data_dir: Path | None) -> "Ledger | None":
    """Where erasures are kept outside the database: the file that the settings name, else one in
    the data folder of an embedded database."""
    from services.console.erasure_ledger import Ledger

    if settings.erasure_ledger is not None:
        return Ledger(settings.erasure_ledger)
    if data_dir is None or settings.database_url is not None:
        return None
    return Ledger(data_dir / _LEDGER_FILE)

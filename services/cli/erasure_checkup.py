"""Whether a backup that is restored would be erased again, and whether one waits for it."""

from services.cli.findings import Finding
from services.console.erasing_again import look, unknown_to
from services.console.erasure_ledger import Ledger
from shared.db.connect import Pool
from shared.errors import ConfigurationError

_CHECK = "erasures"


async def check_erasures(pool: Pool, ledger: Ledger | None) -> list[Finding]:
    """Nothing where nobody was ever erased. Raises Unavailable."""
    if ledger is None:
        asked: int = await pool.fetchval("SELECT count(*) FROM erasures")
        if not asked:
            return []
        return [
            Finding(
                _CHECK,
                "warn",
                f"{asked:,} stand in the database alone: a backup from before them would bring"
                " those customers back",
                "set DANGOL_ERASURE_LEDGER to a file outside the database and its backups",
            )
        ]
    try:
        entries = ledger.read()
        found = await look(pool, entries)
    except ConfigurationError as error:
        return [Finding.of(_CHECK, error)]
    findings = []
    if found.missing:
        findings.append(
            Finding(
                _CHECK,
                "fail",
                f"the database does not know {found.missing:,} of the ledger {ledger.path}: it was"
                " restored from a backup made before them",
                "`dangol erasures reapply` erases again, as a start of `dangol up` or `dangol"
                " console` does",
            )
        )
    if found.foreign:
        findings.append(
            Finding(
                _CHECK,
                "warn",
                f"{found.foreign:,} in {ledger.path} are of another installation",
                "DANGOL_ERASURE_LEDGER names this installation's own file",
            )
        )
    untold = await unknown_to(pool, entries)
    if untold:
        findings.append(
            Finding(
                _CHECK,
                "warn",
                f"the ledger {ledger.path} lacks {untold:,} that the database knows",
                "`dangol up` and `dangol console` add them within the hour; is it writable?",
            )
        )
    if not findings and found.in_ledger:
        findings.append(Finding(_CHECK, "ok", f"{found.in_ledger:,} stand in {ledger.path}, too"))
    return findings

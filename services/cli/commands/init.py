"""`dangol init [DIR]`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from services.cli.options import AS_JSON
from services.cli.terminal import note, report_problems, say, say_json, table
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from services.cli.library import Entry, Language

_ALL = "all"


def register(app: typer.Typer) -> None:
    app.command("init", epilog="Example: dangol init shop --lang ko --with welcome,cart")(init)


def _about_shop(name: str, help_: str, metavar: str) -> str:
    option: str = typer.Option(None, name, metavar=metavar, help=help_, show_default=False)
    return option


def init(
    folder: Path = typer.Argument(".", metavar="[DIR]", help="Where the workspace shall be."),
    lang: str = typer.Option(
        "ko", "--lang", metavar="ko|en", help="The language of texts, titles and comments."
    ),
    wanted: list[str] = typer.Option(
        None,
        "--with",
        metavar="NAME,…",
        help="What to begin with, by the names of --list; `all` for everything.",
        show_default=False,
    ),
    show: bool = typer.Option(False, "--list", help="Print what there is, and write nothing."),
    plan: bool = typer.Option(
        False, "--plan", help="Write a tracking plan, too: events.yaml, what the journeys read."
    ),
    as_json: bool = AS_JSON,
    shop: str = _about_shop("--shop", "The shop's name, in the workspace's language.", "NAME"),
    shop_en: str = _about_shop("--shop-en", "Its English name, beside a Korean one.", "NAME"),
    phone: str = _about_shop("--phone", "The shop's telephone number.", "NUMBER"),
    opt_out: str = _about_shop("--opt-out", "The 080 number to refuse texts by.", "NUMBER"),
    email: str = _about_shop("--email", "The address that mails come from.", "ADDRESS"),
    address: str = _about_shop("--address", "The shop's postal address.", "TEXT"),
    address_en: str = _about_shop("--address-en", "The same in English.", "TEXT"),
    site: str = _about_shop("--site", "The shop's web site, where links lead.", "URL"),
) -> None:
    """Begin a workspace with journeys from the library.

    Writes dangol.yaml, the journeys with the segments and templates that they need, a README and a
    workflow that tests them. Files that are there already stay as they are. What is not said about
    the shop is an example, and the README lists it.
    """
    from services.cli.library import DEFAULT, Shop, build, duties

    language = _language(lang)
    if show:
        _list(language, as_json=as_json)
        return
    if language == "en" and (shop_en or address_en or opt_out):
        raise typer.BadParameter(
            "an English workspace has one name, one address and no 080 number",
            param_hint="--shop-en, --address-en, --opt-out",
        )
    given = {
        "phone": phone,
        "refusal": opt_out,
        "email": email,
        "site": site and site.rstrip("/"),
        "korean" if language == "ko" else "english": shop,
        "korean_address" if language == "ko" else "english_address": address,
    }
    if language == "ko":
        given |= {"english": shop_en, "english_address": address_en}
    about = Shop(**{name: value for name, value in given.items() if value is not None})
    # A workspace that begins here has the notices that its packs ask for.
    brought = () if (folder / "dangol.yaml").exists() else duties(language)
    chosen = _chosen([*(wanted or DEFAULT), *brought])
    written = _write(folder, build(chosen, language, about, plan=plan))
    _report(folder, written, chosen, language, as_json=as_json)


def _language(lang: str) -> "Language":
    if lang == "ko":
        return "ko"
    if lang == "en":
        return "en"
    raise typer.BadParameter(f"{lang!r} is neither ko nor en", param_hint="--lang")


def _chosen(wanted: Iterable[str]) -> "tuple[Entry, ...]":
    from services.cli.library import entries, with_needs
    from services.journey.language.problems import nearest

    known = [entry.name for entry in entries()]
    chosen = [name.strip() for each in wanted for name in each.split(",") if name.strip()]
    for name in chosen:
        if name not in (*known, _ALL):
            hint = nearest(name, known)
            raise typer.BadParameter(
                f"the library has no `{name}`; {hint or '`dangol init --list` shows what it has'}",
                param_hint="--with",
            )
    return with_needs(known if _ALL in chosen else chosen)


@dataclass(frozen=True, slots=True)
class _Written:
    new: Sequence[str]
    kept: Sequence[str]
    """Were there already, with other content."""


def _write(folder: Path, files: Mapping[str, str]) -> _Written:
    """Raises ConfigurationError where the folder cannot be written to."""
    new, kept = [], []
    try:
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            content = text.encode()
            try:
                with file.open("xb") as opened:  # only ever a new file, whoever else writes
                    opened.write(content)
                new.append(path)
            except FileExistsError:
                if not file.is_file() or file.read_bytes() != content:
                    kept.append(path)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {error.filename or folder}: {error.strerror}",
            hint="name a folder that you may write to",
        ) from error
    return _Written(new, kept)


def _report(
    folder: Path,
    written: _Written,
    chosen: "Sequence[Entry]",
    language: "Language",
    *,
    as_json: bool,
) -> None:
    from services.console.folder import read_folder
    from services.journey.language.workspace import load_workspace

    if as_json:
        names = [entry.name for entry in chosen]
        say_json({"folder": str(folder), "with": names, "new": written.new, "kept": written.kept})
    else:
        for entry in chosen:
            say(f"{entry.name}: {entry.title[language]}")
        say(f"wrote {len(written.new)} files to {folder}")
    for path in written.kept:
        note(f"{path} was there already and stays as it is")
    problems = load_workspace(read_folder(folder)).problems
    if problems:
        report_problems(problems)
        note("what stayed and what is new do not fit together yet: mend the problems above")
        raise typer.Exit(1)
    if not as_json:
        where = "" if str(folder) == "." else f" {folder}"
        say(f"next: dangol test{where or ' .'}, then read {folder / 'README.md'}")


def _list(language: "Language", *, as_json: bool) -> None:
    from services.cli.library import DEFAULT, entries
    from services.cli.library.catalogue import class_of

    rows = [
        {
            "name": entry.name,
            "number": entry.number,
            "title": entry.title[language],
            "class": class_of(entry, language),
            "sends": entry.sends[language],
            "default": entry.name in DEFAULT,
        }
        for entry in entries()
    ]
    if as_json:
        for row in rows:
            say_json(row)
        return
    headings = ("이름", "제목", "구분", "언제 보내나요")
    if language == "en":
        headings = ("name", "title", "class", "when it sends")
    table(
        headings, [[str(row[name]) for name in ("name", "title", "class", "sends")] for row in rows]
    )
    print()
    say(f"`dangol init` without --with: {', '.join(DEFAULT)}")

"""`dangol kakao-templates`."""

import asyncio
import os
from pathlib import Path

import typer

from services.cli.options import AS_JSON
from services.cli.terminal import note, say, say_json, working
from shared.errors import BadInput, ConfigurationError

_PATIENCE = 20.0


def register(app: typer.Typer) -> None:
    app.command("kakao-templates", epilog="Example: dangol kakao-templates .")(kakao_templates)


def kakao_templates(
    workspace: Path = typer.Argument(".", metavar="DIR", help="The workspace."),
    channel: str = typer.Option("alimtalk", metavar="CHANNEL", help="The channel in dangol.yaml."),
    as_json: bool = AS_JSON,
) -> None:
    """Fetch the approved AlimTalk templates into templates/kakao.json.

    From SOLAPI or NHN Cloud, with the keys of the environment. `dangol validate` then holds the
    workspace's templates to them: code, state, wording, variables and buttons.
    """
    from services.console.folder import SETTINGS, read_folder
    from services.dispatch.channels.kakao_lists import approved_templates
    from services.dispatch.channels.port import Setup
    from services.journey.language.workspace import load_workspace
    from shared.clock import wall_clock
    from shared.kakao_templates import PATH, Registry, written

    settings = load_workspace(read_folder(workspace)).settings
    if channel not in settings.channels:
        raise BadInput(
            f"{SETTINGS} sets up no channel `{channel}`",
            hint="alimtalk: {adapter: solapi, profile: KA01PF…}",
        )
    setup = Setup(channel, settings.channels[channel], os.environ, 1, _PATIENCE)
    with working("waiting for the vendor"):
        found = asyncio.run(approved_templates(setup))
    found.sort(key=lambda template: template.code)
    fetched_at = wall_clock().isoformat(timespec="seconds")
    registry = Registry(setup.settings.adapter, fetched_at, tuple(found))
    path = workspace / PATH
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(registry))
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    note(f"wrote {len(found)} templates to {path}")
    for template in found:
        if as_json:
            row = {"code": template.code, "status": template.status, "name": template.name}
            say_json(row)
            continue
        say(f"{template.code}  {template.status:<8}  {template.name}")
    if not found:
        note("the vendor knows no template of this profile: is `profile` the right one?")

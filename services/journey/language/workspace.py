"""The one entry: a workspace's files to flows, or to every problem that they have.

workspace = load_workspace(files)
workspace.problems or workspace.flows["cart-abandonment"]
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.journey.core.flow import Flow, Segment
from services.journey.language.check import Known, check_journey
from services.journey.language.circles import refuse_circles
from services.journey.language.compile import compile_flow
from services.journey.language.compile_segments import SegmentSource, compile_segments
from services.journey.language.documents import Document, read_document
from services.journey.language.kakao import check_kakao
from services.journey.language.model.journey import Journey, TestsFile
from services.journey.language.pack_rules import (
    check_exceptions,
    check_packs,
    check_sender,
    pack_warnings,
)
from services.journey.language.pictures import check_pictures
from services.journey.language.problems import Problem, Problems, Source, Spot, nearest
from services.journey.language.reading import decode, read_tree
from services.journey.language.resolve import resolve
from services.journey.language.segments import read_segments
from services.journey.language.settings import read_settings
from services.journey.language.template_files import read_templates
from services.journey.language.template_warnings import template_warnings
from services.journey.language.tracking import Checked, check_tracking, read_tracking
from services.journey.language.tree import Node
from shared.decisions import Category
from shared.templates import Template
from shared.tracking import TrackingPlan
from shared.workspace import WorkspaceSettings

SETTINGS = "dangol.yaml"
_FOLDERS = ("journeys", "segments", "tests")


@dataclass(frozen=True, slots=True)
class JourneySource:
    """What is stored of a journey when it is published."""

    id: str
    title: str
    category: Category
    priority: int
    file: str
    source: str
    """The file's text, with plain line ends and without a byte-order mark."""
    digest: str
    """SHA-256 of the source: the same digest is the same version."""


@dataclass(frozen=True, slots=True)
class Workspace:
    problems: tuple[Problem, ...]
    """Of all files, by file and line; with any, nothing may be published."""
    settings: WorkspaceSettings
    """The defaults where dangol.yaml cannot be used."""
    flows: Mapping[str, Flow]
    """The journeys without a problem, as version 0: publishing gives them their number."""
    journeys: Mapping[str, JourneySource]
    """Those of `flows`."""
    templates: Mapping[str, Template]
    """By `shared.templates.key`."""
    segment_sources: Mapping[str, SegmentSource] = field(default_factory=dict)
    segments: Mapping[str, Segment] = field(default_factory=dict)
    """Compiled; empty where a file has a problem."""
    warnings: tuple[Problem, ...] = ()
    """What is probably not meant and refuses nothing; only where there is no problem."""
    tracking: TrackingPlan | None = None
    """What events.yaml says; None where there is none, or it cannot be used."""


def load_workspace(files: Mapping[str, bytes]) -> Workspace:
    """Everything, from content by path relative to the workspace; never raises for a bad file."""
    found: list[Problem] = []
    settings, channels = _settings(files, found)
    templates = read_templates(
        _below(files, "templates"), found, settings.country if settings else None
    )
    check_kakao(files, templates.parsed, found)
    by_folder = {folder: _yaml(_below(files, folder), found) for folder in _FOLDERS}
    rfm = settings is None or settings.rfm is not None
    segments = read_segments(by_folder["segments"], found, rfm=rfm)
    loader = _Journeys(Known(channels, templates.channels, segments.names, rfm), found)
    for file, content in by_folder["journeys"].items():
        loader.load(file, content)
    refuse_circles(loader.read)
    for file, content in by_folder["tests"].items():
        loader.check_tests(file, content)
    if settings is not None:
        check_pictures(files, settings, found)
        check_packs(files, settings, templates.parsed.values(), loader.flows.values(), found)
        _check_policies(files, settings, loader, found)
    tracking = read_tracking(files, found)
    warnings: list[Problem] = []
    shapes = None
    if tracking is not None:
        sink = found if tracking.mode == "enforce" else warnings
        shapes = check_tracking(tracking, files, by_folder["segments"], loader.checked, sink)
        loader.forget_those_with_problems()
    if not found:
        flows = loader.flows.values()
        warnings += template_warnings(files, templates.parsed.values(), flows, shapes)
        if settings is not None and settings.policies.packs:
            of_settings = Problems(_settings_source(files), warnings)
            pack_warnings(settings, flows, of_settings, _tree(files))
    return Workspace(
        problems=tuple(sorted(set(found))),
        settings=settings or WorkspaceSettings(),
        flows=loader.flows,
        journeys=loader.sources,
        templates=templates.parsed,
        segment_sources=segments.sources,
        segments={} if found else compile_segments(segments.sources),
        warnings=() if found else tuple(sorted(set(warnings))),
        tracking=tracking,
    )


class _Journeys:
    def __init__(self, known: Known, found: list[Problem]) -> None:
        self._known = known
        self._found = found
        self._files: dict[str, str] = {}
        self.flows: dict[str, Flow] = {}
        self.sources: dict[str, JourneySource] = {}
        self.checked: list[Checked] = []
        self.read: list[tuple[Journey, Problems]] = []
        """The journeys of which the model holds all."""

    def load(self, file: str, content: bytes) -> None:
        before = len(self._found)
        document = read_document(Journey, file, content, self._found)
        if document is None:
            return
        self._note_id(document)
        resolved = resolve(
            document.model, document.problems, self._known.segments, document.partial_tree
        )
        check_journey(resolved, self._known, document.problems)
        self.checked.append(Checked(resolved, document.problems.source))
        if document.whole:
            self.read.append((document.model, document.problems))
        if len(self._found) == before:
            flow = compile_flow(resolved, 0)
            self.flows[flow.journey] = flow
            self.sources[flow.journey] = _source(flow, document)

    @property
    def categories(self) -> dict[str, str]:
        """By journey id; of one that cannot be read the default."""
        read = {model.journey.text: model.category for model, _problems in self.read}
        return dict.fromkeys(self._files, "marketing") | read

    def forget_those_with_problems(self) -> None:
        files = {problem.file for problem in self._found}
        for name in [name for name, source in self.sources.items() if source.file in files]:
            del self.flows[name], self.sources[name]

    def _note_id(self, document: Document[Journey]) -> None:
        name, file = document.model.journey, document.problems.source.file
        if not name.line:
            return
        if name.text in self._files:
            document.problems.add(
                name.spot,
                f"the journey `{name.text}` stands in two files: also in {self._files[name.text]}",
                "give one of them another id",
                code="duplicate_id",
            )
        else:
            self._files[name.text] = file

    def check_tests(self, file: str, content: bytes) -> None:
        document = read_document(TestsFile, file, content, self._found)
        if document is None:
            return
        name = document.model.journey
        if name.text not in self._files:
            document.problems.add(
                name.spot,
                f"there is no journey `{name.text}`",
                nearest(name.text, self._files),
                code="unknown_journey",
            )


def _source(flow: Flow, document: Document[Journey]) -> JourneySource:
    return JourneySource(
        id=flow.journey,
        title=flow.title,
        category=flow.category,
        priority=flow.priority,
        file=document.problems.source.file,
        source=document.text,
        digest=hashlib.sha256(document.text.encode()).hexdigest(),
    )


def _settings(
    files: Mapping[str, bytes], found: list[Problem]
) -> tuple[WorkspaceSettings | None, frozenset[str] | None]:
    if SETTINGS not in files:
        hint = "write one with at least `channels:`  email: {adapter: log}"
        _problem(SETTINGS, "this file is missing", hint, found)
        return None, None
    source = decode(SETTINGS, files[SETTINGS], found)
    return (None, None) if source is None else read_settings(Problems(source, found))


def _check_policies(
    files: Mapping[str, bytes],
    settings: WorkspaceSettings,
    loader: "_Journeys",
    found: list[Problem],
) -> None:
    policies = settings.policies
    problems = Problems(_settings_source(files), found)
    if policies.packs:
        check_sender(settings, loader.flows.values(), problems, _tree(files))
    if policies.existing_customers or policies.met_elsewhere:
        check_exceptions(settings, loader.categories, problems, _tree(files))


def _settings_source(files: Mapping[str, bytes]) -> Source:
    return Source.of(SETTINGS, files[SETTINGS].decode("utf-8-sig"))


def _tree(files: Mapping[str, bytes]) -> Node:
    """Of settings that have been read before."""
    tree = read_tree(Problems(_settings_source(files), []))
    assert tree is not None
    return tree


def _below(files: Mapping[str, bytes], folder: str) -> dict[str, bytes]:
    return {path: files[path] for path in sorted(files) if path.startswith(f"{folder}/")}


def _yaml(files: Mapping[str, bytes], found: list[Problem]) -> dict[str, bytes]:
    """The YAML files among some; what is nearly one is a problem rather than overlooked."""
    taken: dict[str, bytes] = {}
    for path, content in files.items():
        if path.endswith(".yml"):
            _problem(path, "this file is overlooked: its name ends in .yml", "name it .yaml", found)
        elif path.endswith(".yaml") and path.count("/") > 1:
            _problem(path, "this file is overlooked: it is in a folder within", "move it up", found)
        elif path.endswith(".yaml"):
            taken[path] = content
    return taken


def _problem(file: str, message: str, hint: str, found: list[Problem]) -> None:
    Problems(Source(file, ()), found).add(Spot(1, 1), message, hint, code="file_name")

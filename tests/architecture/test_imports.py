"""The rooms and their arrows: who may import whom, and what may be imported when."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
ROOMS = ("assets", "pipelines", "feature_repo", "ray_jobs", "serving", "infra")
OURS = (*ROOMS, "bench", "tests")
HEAVY = (
    "ray",
    "torch",
    "transformers",
    "peft",
    "pyspark",
    "feast",
    "mlflow",
    "great_expectations",
    "pandas",
    "sklearn",
    "deltalake",
)
ASSET_LINES = 25

#: Room to what it may import from other rooms: anywhere, and inside functions only.
ANYWHERE = {
    "assets": (
        "pipelines",
        "feature_repo",
        "ray_jobs.programs",
        "ray_jobs.tabular.recipe",
        "ray_jobs.text.recipe",
        "serving.runtimes",
    ),
    "pipelines": (),
    "feature_repo": ("pipelines",),
    "ray_jobs": ("pipelines",),
    "serving": ("feature_repo", "pipelines", "ray_jobs.tabular.model"),
    "infra": (),
}
INSIDE_FUNCTIONS = {"assets": ("ray_jobs", "serving")}
#: The one module of `pipelines` that knows the assets, and the packages that may import other rooms inside functions.
LOADS_ASSETS = "pipelines.definitions"
START_PROGRAMS = ("pipelines.demo", "pipelines.commands")
#: The parts of a room in the order in which they may import: each imports only itself and what stands before it.
ORDERS: Mapping[str, Sequence[str]] = {
    "pipelines": (
        "errors plain_path settings tables retrying machine clock contracts engine lakehouse sources landing lineage cost "
        "policy verdict governed quality quarantine features models rollout medallion provenance upkeep orchestration definitions "
        "demo scaffold commands __main__"
    ).split(),
    "ray_jobs": ["programs", "core", "tabular", "text"],
    "serving": ["errors", "runtimes", "door", "predict", "push"],
}
#: Parts of one room that know nothing of each other.
APART = (("serving.predict", "serving.push"), ("ray_jobs.tabular", "ray_jobs.text"))
LONGEST_MODULE_LINES = 400
#: Programs that run without Dagster, and the module beside them with which domains declare assets.
PROGRAMS = ("feature_repo", "ray_jobs", "serving")
#: Modules of those rooms that declare assets, or read the code location.
DECLARES_ASSETS = (
    "feature_repo.assets",
    "feature_repo.definitions",
    "feature_repo.freshness",
    "feature_repo.freshness_figures",
    "feature_repo.parity_check",
)


@dataclass(frozen=True, slots=True)
class Import:
    """One import of `target`; `when` it happens: as the module loads, later, or only for a type checker."""

    importer: str
    target: str
    when: str
    line: int

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target} ({self.when})"


def imports_in(source: str, importer: str) -> Iterator[Import]:
    """Every import statement of a module."""
    yield from _imports(ast.parse(source), importer, "loading")


def _imports(node: ast.AST, importer: str, when: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(importer, alias.name, when, child.lineno) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = "." * child.level + (child.module or "")
            # `from pipelines import costs` names a module, `from pipelines.cost.focus import Usage` a part of one.
            yield from (Import(importer, _module(module, alias.name), when, child.lineno) for alias in child.names)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _imports(child, importer, "inside a function" if when == "loading" else when)
        elif isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from _imports(ast.Module(child.body, []), importer, "type checking")
            yield from _imports(ast.Module(child.orelse, []), importer, when)
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith(("import_module", "__import__")):
            names = [part.value for part in child.args[:1] if isinstance(part, ast.Constant)]
            yield from (Import(importer, str(name), when, child.lineno) for name in names)
        else:
            yield from _imports(child, importer, when)


def _module(module: str, name: str) -> str:
    return f"{module}.{name}" if module in OURS or (ROOT / module.replace(".", "/") / f"{name}.py").exists() else module


def modules() -> dict[str, Path]:
    """The modules of all rooms, by name."""
    found = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in found}


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    return [found for name, path in modules().items() for found in imports_in(path.read_text(encoding="utf-8"), name)]


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def forbidden(found: Import) -> bool:
    """Whether the arrow is none of those that the rooms may have."""
    if found.target.startswith("."):
        return True
    room = found.importer.split(".")[0]
    if not within(found.target, OURS) or within(found.target, (room, *ANYWHERE[room])):
        return False
    if found.importer == LOADS_ASSETS:
        return not within(found.target, ("assets",))
    if found.when == "loading":
        return True
    return not (within(found.importer, START_PROGRAMS) and within(found.target, PROGRAMS)) and not within(
        found.target, INSIDE_FUNCTIONS.get(room, ())
    )


def test_rooms_import_each_other_only_along_the_arrows_of_the_design(imports: list[Import]) -> None:
    assert [str(found) for found in imports if forbidden(found)] == []


def upward(found: Import) -> bool:
    """Whether a module imports a part of its room that stands behind its own in the order, or one that is apart."""
    room, target = found.importer.split(".")[0], found.target
    order = ORDERS.get(room, [])
    if not within(target, (room,)) or not order:
        return False
    if target == room:
        return True
    ours, theirs = _part(found.importer), _part(target)
    if any({f"{room}.{ours}", f"{room}.{theirs}"} == set(pair) for pair in APART):
        return True
    return ours != "" and (theirs not in order or ours not in order or order.index(theirs) > order.index(ours))


def _part(module: str) -> str:
    """The second name: the package or the module at the top of the room."""
    return module.split(".")[1] if "." in module else ""


def test_parts_of_a_room_import_only_what_stands_before_them(imports: list[Import]) -> None:
    assert [str(found) for found in imports if upward(found)] == []


def test_the_order_names_every_part_of_a_room_and_nothing_else() -> None:
    for room, order in ORDERS.items():
        parts = {_part(name) for name in modules() if within(name, (room,))} - {""}
        assert sorted(parts) == sorted(order), room


@pytest.mark.parametrize(
    ("importer", "source", "expected"),
    [
        ("pipelines.contracts.model", "from pipelines.engine import session", True),
        ("pipelines.contracts.model", "def f():\n    from pipelines.definitions import defs", True),
        ("pipelines.contracts.model", "if TYPE_CHECKING:\n    from pipelines.lakehouse.base import Lakehouse", True),
        (
            "pipelines.contracts.model",
            "if TYPE_CHECKING:\n    pass\nelse:\n    from pipelines.engine import session",
            True,
        ),
        ("pipelines.contracts.model", "import pipelines", True),
        ("pipelines.contracts.model", "importlib.import_module('pipelines.engine.session')", True),
        ("pipelines.engine.session", "from pipelines.contracts import model", False),
        ("pipelines.engine.session", "from pipelines.engine import sail", False),
        ("ray_jobs.core.progress", "from ray_jobs.tabular import recipe", True),
        ("serving.push.http", "from serving.predict import http", True),
        ("serving.predict.http", "from serving.door import guard", False),
    ],
)
def test_an_upward_arrow_is_found_wherever_it_hides(importer: str, source: str, expected: bool) -> None:
    assert [upward(found) for found in imports_in(source, importer)] == [expected]


def in_circles(imports: Iterable[Import]) -> list[str]:
    """The modules that lie in a circle of imports, or between two circles; none where there is no circle."""
    names = modules()
    arrows = {(found.importer, found.target) for found in imports if found.target in names}
    arrows = {(importer, target) for importer, target in arrows if importer != target}
    before: set[tuple[str, str]] = set()
    while arrows != before:
        before = arrows
        importers, targets = {importer for importer, _ in arrows}, {target for _, target in arrows}
        # An arrow from a module that no other imports, or to one that imports no other, lies in no circle.
        arrows = {(importer, target) for importer, target in arrows if importer in targets and target in importers}
    return sorted({name for arrow in arrows for name in arrow})


def test_no_room_imports_in_a_circle(imports: list[Import]) -> None:
    assert in_circles(imports) == []


def test_a_circle_is_found_with_its_members(imports: list[Import]) -> None:
    back = Import("pipelines.contracts.model", "pipelines.contracts.load", "inside a function", 1)
    members = set(in_circles([*imports, back]))
    assert {"pipelines.contracts.model", "pipelines.contracts.load", "pipelines.contracts.reader"} <= members
    assert not {"pipelines.errors", "pipelines.definitions"} & members


def test_a_package_says_what_it_answers_and_holds_nothing_else() -> None:
    for name, path in modules().items():
        if path.name == "__init__.py" and within(name, tuple(ORDERS)):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert (len(tree.body), bool(ast.get_docstring(tree))) == (1, True), name


def test_no_module_is_longer_than_one_question_needs() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE_LINES} == {}


def test_there_is_something_to_walk(imports: list[Import]) -> None:
    assert {found.importer.split(".")[0] for found in imports} == set(ROOMS)
    arrows = {(found.importer.split(".")[0], found.target.split(".")[0]) for found in imports}
    assert {("assets", "pipelines"), ("serving", "feature_repo"), ("ray_jobs", "pipelines")} <= arrows


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("pipelines.cost.focus", "from assets.flights import gold"),
        ("pipelines.cost.focus", "def f():\n    import serving.predict.app"),
        ("pipelines.commands.dev", "from serving import deploy"),
        ("pipelines.demo.run", "def f():\n    from assets.flights import deliveries"),
        ("pipelines.definitions", "import ray_jobs.core.train"),
        ("assets.flights.model", "from ray_jobs.core.train import train"),
        ("assets.flights.model", "class A:\n    from serving.predict import app"),
        ("ray_jobs.core.train", "if True:\n    from feature_repo import store"),
        ("serving.predict.app", "from ray_jobs.core import train"),
        ("serving.predict.app", "def f():\n    from ray_jobs.core.train import train"),
        ("feature_repo.store", "try:\n    import serving\nexcept ImportError:\n    pass"),
        ("infra.validate", "import pipelines.contracts.model"),
        ("assets.flights.gold", "from . import silver"),
        ("pipelines.cost.focus", "def f():\n    from tests.conftest import engine"),
        ("serving.predict.app", "import bench"),
    ],
)
def test_a_forbidden_arrow_is_found_wherever_it_hides(importer: str, source: str) -> None:
    assert [forbidden(found) for found in imports_in(source, importer)] == [True]


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("assets.flights.model", "def f():\n    from ray_jobs.core.train import train"),
        ("assets.flights.model", "if TYPE_CHECKING:\n    from ray_jobs.tabular.recipe import Recipe"),
        ("pipelines.definitions", "import assets"),
        ("pipelines.demo.run", "def f():\n    from serving.predict import client"),
        ("serving.predict.models", "from ray_jobs.tabular.model import TabularModel"),
        ("infra.validate", "from infra.checks import policy"),
    ],
)
def test_an_arrow_of_the_design_is_allowed(importer: str, source: str) -> None:
    assert [forbidden(found) for found in imports_in(source, importer)] == [False]


def test_heavy_libraries_are_imported_where_they_are_used(imports: list[Import]) -> None:
    eager = [
        str(found)
        for found in imports
        if within(found.importer, ("assets", "pipelines")) and found.when == "loading" and within(found.target, HEAVY)
    ]
    assert eager == []


def test_feast_is_imported_in_one_module_that_loads_it_quickly(imports: list[Import]) -> None:
    importers = {found.importer for found in imports if within(found.target, ("feast",))}
    program = ("pipelines", "feature_repo", "serving", "ray_jobs", "assets")
    allowed = {"feature_repo.feast_api", "feature_repo.redis_store", "feature_repo.web_pages"}
    allowed |= {"pipelines.machine.feast_loading", "pipelines.upkeep.home_files"}
    assert {name for name in importers if within(name, program)} == allowed


def test_programs_know_nothing_of_dagster(imports: list[Import]) -> None:
    """Neither they nor what they load imports it."""
    loaded = {found for found in imports if found.when == "loading"}
    reached = [name for name in modules() if within(name, PROGRAMS) and name not in DECLARES_ASSETS]
    for name in reached:
        targets = {found.target for found in loaded if found.importer == name}
        assert not within("dagster", tuple(target.split(".")[0] for target in targets)), name
        reached += [target for target in targets if within(target, ROOMS) and target not in reached]


def test_functions_of_assets_hold_no_plumbing() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {node.name} has {lines} lines"
        for path in sorted((ROOT / "assets").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (lines := _lines(node)) > ASSET_LINES
    ]
    assert long == []


def _lines(function: ast.FunctionDef) -> int:
    """The lines below the signature, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) and len(function.body) > 1 else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1

"""The kinds of files that a home folder holds: how damage shows in each, and what is done about it.

A new kind of file gets a line in KINDS; a test walks a home and fails on a file of no kind. Tables are read by
`lakehouse.table_log`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.errors import GoldpathError
from pipelines.machine import databases, files
from pipelines.machine.feast_loading import load_feast
from pipelines.models import model_files
from pipelines.models.run_record import RunRecord
from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    Attributes:
        pattern: Of its path below the home folder.
        name: What it is.
        check: Returns what is wrong with a file, in words; empty if nothing is. None: content that nothing depends on.
        remedy: What becomes of it once a damaged file is set aside; empty for a file that is left where it is.
    """

    pattern: str
    name: str
    check: Callable[[Path], str] | None = None
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class FileDamage:
    """One damaged file."""

    path: Path
    kind: Kind
    observed: str


def _text(path: Path) -> str:
    return "" if path.read_text(encoding="utf-8").strip() else "it is empty"


def _json(path: Path) -> str:
    return "" if isinstance(json.loads(path.read_bytes()), dict) else "it is not a JSON object"


def _json_lines(path: Path) -> str:
    """Of each line but the last one, which a process may be writing."""
    damaged = []
    with path.open("rb") as log:
        for number, line in enumerate(log, start=1):
            try:
                whole = not line.endswith(b"\n") or isinstance(json.loads(line), dict)
            except (ValueError, RecursionError):
                whole = False
            if not whole:
                damaged.append(number)
    return f"{len(damaged)} of its lines are not JSON objects, the first is line {damaged[0]}" if damaged else ""


def _instance(path: Path) -> str:
    import yaml

    content = yaml.safe_load(path.read_bytes())
    return "" if content is None or isinstance(content, dict) else "it is not a mapping"


def _feast_registry(path: Path) -> str:
    load_feast()
    from feast.protos.feast.core.Registry_pb2 import Registry

    return "" if Registry.FromString(path.read_bytes()).ByteSize() else "it is empty"


def _clock(path: Path) -> str:
    return "" if datetime.fromisoformat(path.read_text(encoding="utf-8").strip()).tzinfo else "it lacks a UTC offset"


def _base_model(path: Path) -> str:
    recorded: dict[str, str] = json.loads(path.read_bytes())["files"]
    changed = [
        name
        for name, checksum in recorded.items()
        if not (path.parent / name).is_file() or model_files.sha256(path.parent / name) != checksum
    ]
    return f"{', '.join(changed)} beside it are not what was converted" if changed else ""


def _served_model(path: Path) -> str:
    model_files.verify(path.parent, path.parent.parent.name)
    return ""


def _tracked_model(path: Path) -> str:
    record = RunRecord.read(path.parent)
    same = record.artifacts == model_files.checksums(path.parent.parent / "model")
    return "" if same else "the model's files beside it are not those that it names"


_FILLED_AGAIN = "the next materialization of the asset that fills the online store writes it again"
_SECRET = "a new one is made when it is needed; callers need the new one"
#: In this order; the first pattern that fits counts.
KINDS = (
    Kind(r"damaged/.*|lakehouse/damaged/.*", "files set aside"),
    Kind(r"(.*/)?\.[^/]*\.\d+\.\d+", "an unfinished file of a killed process"),
    Kind(r".*\.db-(wal|shm|journal)", "part of a database"),
    Kind(
        r"lakehouse/_ledger/[^/]*\.db",
        "ledger of a bronze table",
        databases.damage,
        "the next run of the bronze table makes it again from the table",
    ),
    Kind(r"lakehouse/_ledger/[^/]*\.json", "note of a table's inputs", _json, "the next run derives the table again"),
    Kind(r"lakehouse/_staging/.*", "staged files"),
    Kind(r"lakehouse/(bronze|silver|quarantine|gold|ops)/.*", "file of a table"),
    Kind(r"landing/.*", "landed file"),
    Kind(r"lineage/.*\.jsonl", "lineage events", _json_lines),
    Kind(r"lineage/.*", "lineage events to deliver"),
    Kind(r"quality/.*", "results of quality checks", _json, "nothing depends on it; the next run writes new results"),
    Kind(
        r"dagster/dagster\.yaml",
        "Dagster's instance file",
        _instance,
        "the default one is written again; put your changes into it",
    ),
    Kind(
        r"dagster/.*\.db",
        "database of Dagster",
        databases.damage,
        "Dagster begins a new one: the history of runs in the damaged one is lost, tables and lineage are not",
    ),
    Kind(r"dagster/.*", "output of runs"),
    Kind(
        r"mlflow/mlflow\.db",
        "database of MLflow",
        databases.damage,
        "MLflow begins a new one without runs, models and aliases: put back a backup, or train again",
    ),
    Kind(r"mlflow/artifacts/.*/evidence/run_record\.json", "run record of a model", _tracked_model),
    Kind(r"mlflow/.*", "file of a tracked run"),
    Kind(r"models/.*", "copy of a tracked run, made again when it is damaged"),
    Kind(r"training/.*", "working files of a training"),
    Kind(
        r"base_models/[^/]+/base_model\.json",
        "converted base model",
        _base_model,
        "the weights are converted again when they are needed",
    ),
    Kind(r"base_models/.*", "file of a converted base model"),
    Kind(r"decisions/.*\.jsonl", "decisions about a model", _json_lines),
    Kind(r"keys/.*\.pem", "key that signs models or verifies them", _text),
    Kind(r"features/[^/]+/state\.json", "note of the online store", _json, _FILLED_AGAIN),
    Kind(r"features/[^/]+/[^/]+/filling\.json", "note of an unfinished filling", _json, _FILLED_AGAIN),
    Kind(
        r"features/[^/]+/versions\.json",
        "decisions about the versions of feature views",
        _json,
        "the lowest version of each view is read again: promote again what was promoted",
    ),
    Kind(
        r"features/saved_datasets\.db",
        "list of the datasets that Feast saved",
        _feast_registry,
        "the tables are as they were: save a dataset again, so that Feast finds it by its name",
    ),
    Kind(r"features/[^/]+/freshness\.jsonl", "log of the online store's freshness", _json_lines),
    Kind(r"features/[^/]+/[^/]+/[^/]*registry[^/]*\.db", "Feast's registry", _feast_registry, _FILLED_AGAIN),
    Kind(r"features/[^/]+/[^/]+/[^/]*\.db", "online store", databases.damage, _FILLED_AGAIN),
    Kind(
        r"serving/deployments/[^/]+\.json",
        "last deployment",
        _json,
        "materialize the service's asset: it deploys again",
    ),
    Kind(
        r"serving/models/[^/]+/[^/]+/model/model\.json",
        "served model",
        _served_model,
        "the next deployment copies the model again",
    ),
    Kind(r"serving/models/.*", "file of a served model"),
    Kind(r"serving/routes/[^/]+\.json", "route of a rollout", _json, "the rollout writes it again"),
    Kind(r"rollouts/.*/state\.json", "state of a rollout", _json),
    Kind(r"rollouts/.*\.jsonl", "history or evidence of a rollout", _json_lines),
    Kind(r"serving/tokens/[^/]+", "token of a service", _text, _SECRET),
    Kind(r"serving/.*\.jsonl", "log of predictions", _json_lines),
    Kind(r"push/[^/]+/[^/]+/[^/]*\.log", "log of pushed events", _json_lines),
    Kind(r"push/.*", "ids of pushed events"),
    Kind(r"ray/token", "token of the Ray cluster", _text, _SECRET),
    Kind(r"ray/address\.json", "address of the Ray cluster", _json, "the next program starts a cluster"),
    Kind(r"dev/token", "token of the pages of `goldpath dev`", _text, "the next start makes a new one"),
    Kind(r"clock", "replay clock", _clock, "the wall clock counts"),
    Kind(r"operations\.db", "the demo's source database", databases.damage, "the demo writes it again"),
    Kind(r"demo/.*", "report of the demo"),
    Kind(r"(locks|logs|jars|sail|spark|derby|metastore_db|spark-warehouse)/.*", "locks, logs, programs"),
)


def kind_of(path: str) -> Kind | None:
    """The kind of a file, by its path below the home folder; None for a file that Goldpath does not write."""
    return next((kind for kind in KINDS if re.fullmatch(kind.pattern, path)), None)


def walk(root: Path) -> Iterator[tuple[Path, Kind | None]]:
    """Every file below a home folder with its kind; links are not followed."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or path.is_file():
            yield path, kind_of(path.relative_to(root).as_posix())


def damages(settings: Settings) -> Iterator[FileDamage]:
    """The damaged files below a home folder, other than those of tables."""
    for path, kind in walk(settings.root):
        if kind and kind.check and (observed := _observed(path, kind.check)):
            yield FileDamage(path, kind, observed)


def _observed(path: Path, check: Callable[[Path], str]) -> str:
    try:
        return check(path)
    except FileNotFoundError:
        return ""  # removed meanwhile
    except GoldpathError as error:
        return error.observed
    except Exception as error:  # noqa: BLE001 - whatever a parser raises about a damaged file is what is wrong with it
        return f"it cannot be read: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def set_aside(settings: Settings) -> list[Path]:
    """The files and folders that repairs have set aside."""
    folders = (settings.root / files.DAMAGED, Path(settings.lakehouse) / files.DAMAGED)
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]

"""Reading features in this process: ours as a prediction service does, against stock Feast's `get_online_features`.

Both have the same rows, each in a store of its own on SQLite or Redis; requests by turns, of other entities each time.
`python -m bench.online --all` measures every size.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from bench.feature_rows import AS_OF, BEGIN, DOMAIN, entity, service, stock_feast, write
from bench.pairs import Row, percentile
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.engine.session import Engine

STORES, ROWS, FEATURES = ("SQLite", "Redis"), (1, 10, 100), (10, 50, 250)
#: Rows and features of one request.
SIZES = ((1, 50), (10, 50), (100, 250))
ENTITIES, REQUESTS, SECONDS = 1_000, 400, 20.0

Asked = Sequence[dict[str, Any]]


def measure(settings: Settings, sizes: Sequence[tuple[int, int]] = SIZES) -> list[Row]:
    from pipelines.engine.session import Engine
    from tests.servers import redis

    found: list[Row] = []
    settings.root.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(dir=settings.root)))
        engine = opened.enter_context(Engine.start("embedded", home=folder, threads=2))
        server = opened.enter_context(redis.running(folder / "redis"))
        for features, store in itertools.product(dict.fromkeys(features for _, features in sizes), STORES):
            place = folder / f"{store}-{features}"
            place.mkdir()
            sides = _sides(engine, place, features, server.feast if store == "Redis" else None)
            for rows in [rows for rows, each in sizes if each == features]:
                found += _rows(f"{store}, {rows} x {features}", *_latencies(sides, rows))
    return found


def _sides(engine: Engine, folder: Path, features: int, redis: str | None) -> tuple[Callable[[Asked], object], ...]:
    """Ours and stock Feast, both filled from one file."""
    from feature_repo.filling import materialize
    from feature_repo.state import DomainStore
    from serving.predict.features import OnlineFeatures

    write(folder / "rows.parquet", ENTITIES, features)
    declared = service(folder, features)
    settings = Settings(home=folder / "home", redis_url=SecretStr(redis) if redis else None)
    tables = {source: engine.session.read.parquet(str(folder / "rows.parquet")) for source in declared.tables}
    materialize(DomainStore(settings, DOMAIN), [declared], tables, as_of=AS_OF)
    ours = OnlineFeatures(settings, declared)
    with contextlib.redirect_stdout(io.StringIO()):
        stock = stock_feast(folder, folder / "rows.parquet", features, redis)
        stock.materialize(BEGIN, AS_OF)
    asked = stock.get_feature_service("stock_v1")

    def feast(rows: Asked) -> dict[str, Any]:
        return stock.get_online_features(asked, list(rows), full_feature_names=True).to_dict()

    rows = [{"item": entity(number)} for number in range(20)]
    answers = feast(rows)
    names = [name for name in answers if name != "item"]
    values = [reading.values() for reading in ours.read(rows)]
    assert values == [{name: answers[name][place] for name in names} for place in range(len(rows))]
    return ours.read, feast


def _latencies(sides: tuple[Callable[[Asked], object], ...], rows: int) -> tuple[list[float], ...]:
    """The milliseconds of each request, of both sides."""
    chosen, found, started = random.Random(7), tuple(list[float]() for _ in sides), time.perf_counter()
    for number in range(REQUESTS + 10):
        asked = [{"item": entity(chosen.randrange(ENTITIES))} for _ in range(rows)]
        for side, milliseconds in zip(sides, found, strict=True):
            begun = time.perf_counter()
            side(asked)
            if number >= 10:  # the first ones warm up
                milliseconds.append(1_000 * (time.perf_counter() - begun))
        if number > 100 and time.perf_counter() - started > SECONDS:
            break
    return found


def _rows(name: str, ours: list[float], feast: list[float]) -> list[Row]:
    aims = {0.50: "aim 1 ms at 1 x 50", 0.99: "aim 0.5"}
    return [
        Row(f"online {name}: p{100 * share:.0f}", f"{a:.2f} ms", f"{b:.2f} ms", a / b, f"{aim}; {len(ours)} requests")
        for share, aim in aims.items()
        for a, b in [(percentile(ours, share), percentile(feast, share))]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.online", description=__doc__)
    parser.add_argument("--all", action="store_true", help=f"{ROWS} rows x {FEATURES} features")
    for row in measure(Settings(), list(itertools.product(ROWS, FEATURES)) if parser.parse_args().all else SIZES):
        print(f"{row.name}: {row.ours} / {row.peer} = {row.ratio:.3f} ({row.note})")


if __name__ == "__main__":
    main()

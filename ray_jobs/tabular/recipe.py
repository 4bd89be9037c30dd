"""Recipes: a run's configuration is a Python function that returns a complete, frozen `Recipe`."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ray_jobs.core.errors import RecipeError


@dataclass(frozen=True, slots=True)
class Window:
    """The instants from `start` (included) to `end` (excluded), both with a time zone."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None or self.start >= self.end:
            raise RecipeError(
                object="window",
                observed=f"{self.start.isoformat()} to {self.end.isoformat()}",
                expected="two instants with a time zone, the start before the end",
                next_step="give both in UTC",
            )

    def __str__(self) -> str:
        return f"[{self.start.isoformat()}, {self.end.isoformat()})"


@dataclass(frozen=True, slots=True)
class Difference:
    """A numeric input that the model computes itself: `minuend - subtrahend`, clipped to [minimum, maximum]."""

    name: str
    minuend: str
    subtrahend: str
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides a training run, except the table version it reads.

    Attributes:
        label: 0/1 column; rows where it is null are not used.
        row_key: Column that, after `time_column`, puts the rows into one order.
        time_column: When the question is asked, UTC; both windows select by it.
        known_at_column: When the label was known, UTC; a training row's label is known by the end of the train window.
        numeric: Numeric input columns.
        categorical: Text input columns; each gets an embedding.
        differences: Numeric inputs computed from two columns, in training and in prediction alike.
        holdout_every_days: Of so many days of the train window the last one is held out: no weight sees it, and
            calibration is fitted on it. Spread over the window, since its last weeks alone are another season.
        calibration: "fit" on the held-out days; or "keep" the base model's, where these are so few that one storm
            decides, and then they only give the epochs' validation loss.
        minimum_category_count: A category with fewer training rows shares the embedding of unknown ones.
        maximum_embedding_width: An embedding of c categories has min(this, (c + 1) // 2) dimensions.
        batch_size: Rows of one step, all workers together.
        learning_rate: Peak of the one-cycle schedule.
        max_failures: How many worker failures the run survives.
        checkpoint_interval_epochs: A worker failure loses at most so many epochs.
    """

    model_name: str
    feature_service: str
    label: str
    row_key: str
    time_column: str
    known_at_column: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    differences: tuple[Difference, ...]
    train_window: Window
    gate_window: Window
    holdout_every_days: int
    calibration: Literal["fit", "keep"]
    minimum_category_count: int
    maximum_embedding_width: int
    hidden_widths: tuple[int, ...]
    dropout: float
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    seed: int
    num_workers: int
    max_failures: int
    checkpoint_interval_epochs: int

    def __post_init__(self) -> None:
        train, gate = self.train_window, self.gate_window
        days = (train.end - train.start).days
        names = [*self.categorical, *self.numeric, *(difference.name for difference in self.differences)]
        checks = {
            "gate_window": (train.end <= gate.start, f"one that starts after the train window {train}"),
            "holdout_every_days": (2 <= self.holdout_every_days <= days, "2 or more, within the train window"),
            "numeric": (len(set(names)) == len(names), "no name twice among categorical, numeric and differences"),
            "max_failures": (self.max_failures > 0, "1 or more: with 0 the first lost worker ends the run"),
            "num_workers": (self.num_workers > 0, "1 or more"),
            "epochs": (self.epochs > 0, "1 or more"),
            "batch_size": (self.batch_size >= self.num_workers, "1 or more per worker"),
            "checkpoint_interval_epochs": (self.checkpoint_interval_epochs > 0, "1 or more"),
        }  # fmt: skip
        for name, (good, expected) in checks.items():
            if not good:
                raise RecipeError(
                    object=f"recipe of {self.model_name}: {name}",
                    observed=str(getattr(self, name)),
                    expected=expected,
                    next_step="correct it in the recipe, or in the dataclasses.replace that changed it",
                )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The table's columns that the model reads, each once and in a fixed order."""
        of_differences = (c for d in self.differences for c in (d.minuend, d.subtrahend))
        return tuple(dict.fromkeys((*self.categorical, *self.numeric, *of_differences)))

    @property
    def fingerprint(self) -> str:
        """sha256 over every field: two runs with the same one and the same table version do the same."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), default=str).encode()).hexdigest()


def arrival_delay() -> Recipe:
    """Will this flight arrive 15 or more minutes late? Asked two hours before scheduled departure."""
    return Recipe(
        model_name="arrival_delay",
        feature_service="arrival_delay_v1",
        label="arrived_late",
        row_key="flight_id",
        time_column="event_timestamp",
        known_at_column="outcome_known_at",
        numeric=(
            "scheduled_minute",
            "day_of_week",
            "scheduled_duration_minutes",
            *_of("origin_weather", "temp dewp humid wind_speed wind_u wind_v precip pressure visib"),
            *_of("origin_delays", "dep_delay_mean_1h dep_late_share_1h dep_delay_mean_24h cancelled_24h"),
            *_of("origin_delays", "overdue overdue_minutes"),
            *_of("carrier_delays", "arr_delay_mean_3h arr_delay_mean_24h arr_delay_mean_7d arr_late_share_7d"),
            *_of("destination_delays", "arr_delay_mean_3h arr_delay_mean_24h arr_delay_mean_7d"),
            *_of("flight_history", "late_share_20 arr_delay_mean_20"),
            *_of("aircraft_history", "last_dep_delay last_arr_delay"),
        ),
        categorical=("carrier", "origin", "dest"),
        differences=(
            Difference("turnaround_slack", "departure_minute", "aircraft_history__ready_at_minute", -600.0, 1500.0),
        ),
        train_window=Window(datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 10, 1, tzinfo=UTC)),
        gate_window=Window(datetime(2013, 10, 1, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC)),
        holdout_every_days=10,
        calibration="fit",
        minimum_category_count=50,
        maximum_embedding_width=4,
        hidden_widths=(64, 32),
        dropout=0.4,
        epochs=20,
        batch_size=2048,
        learning_rate=6e-3,
        weight_decay=0.2,
        seed=2013,
        num_workers=2,
        max_failures=2,
        checkpoint_interval_epochs=1,
    )  # fmt: skip


def arrival_delay_fine_tune() -> Recipe:
    """The champion's weights, taken further with the flights of the weeks since."""
    return dataclasses.replace(
        arrival_delay(),
        train_window=Window(datetime(2013, 10, 1, tzinfo=UTC), datetime(2013, 10, 25, tzinfo=UTC)),
        gate_window=Window(datetime(2013, 10, 25, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC)),
        holdout_every_days=6,
        calibration="keep",
        epochs=3,
        batch_size=512,
        learning_rate=5e-4,
    )


def with_windows(recipe: Recipe, train_start: str, train_end: str, gate_end: str) -> Recipe:
    """The recipe over other windows, ISO 8601 with offset; an empty text keeps the recipe's own instant.

    The gate window begins where the train window ends.
    """
    train, gate = recipe.train_window, recipe.gate_window
    changed = Window(_instant(train_start, train.start), _instant(train_end, train.end))
    return dataclasses.replace(
        recipe,
        train_window=changed,
        gate_window=Window(changed.end if train_end else gate.start, _instant(gate_end, gate.end)),
    )


def _of(view: str, features: str) -> tuple[str, ...]:
    """Feast's full feature names."""
    return tuple(f"{view}__{feature}" for feature in features.split())


def _instant(text: str, default: datetime) -> datetime:
    return datetime.fromisoformat(text) if text else default

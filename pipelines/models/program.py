"""What the platform and a training program exchange: value types, and the signatures that both sides are checked by.

A program in `ray_jobs` imports this module in every process of a cluster, so it holds leaf types alone and loads no
library.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pipelines.cost.prices import PriceSheet
from pipelines.errors import TerminalError
from pipelines.models.answers import Predictor, Task
from pipelines.models.judgement import Gate, Judgement
from pipelines.models.search import Search, SearchOutcome

#: The names of the contenders in `Challenge.evaluations`.
CHALLENGER, BASELINE, PERSISTENCE, CHAMPION = "challenger", "baseline", "persistence", "champion"


#: What a column of a training set holds: numbers (or booleans), texts, instants, or values that are only compared.
Holds = Literal["number", "text", "instant", "any"]


class RecipeError(TerminalError):
    """A recipe contradicts itself, or does not fit its base model."""


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
class Fold:
    """The rows with one of these values in a column, for tables whose rows no time orders.

    The training set computes the column from a stable hash of what a row belongs to, so that a row keeps its fold in
    every version of the table, and rows that share causes are in one fold.

    Attributes:
        column: The training set's column, of texts.
        values: Those of the fold.
        holdout: Those of the rows that are held out for calibration; of a fold to train on alone.
    """

    column: str
    values: tuple[str, ...]
    holdout: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.values or set(self.values) & set(self.holdout):
            raise RecipeError(
                object=f"fold of {self.column}",
                observed=str(self),
                expected="at least one value, none of which is held out as well",
                next_step="correct the recipe",
            )

    def __str__(self) -> str:
        held_out = f", held out {' and '.join(self.holdout)}" if self.holdout else ""
        return f"{self.column} {' and '.join(self.values)}{held_out}"

    def overlaps(self, other: Fold) -> bool:
        """Whether a row may be in both."""
        return self.column != other.column or bool({*self.values, *self.holdout} & {*other.values, *other.holdout})


#: Which rows of a training set a step reads.
Part = Window | Fold


#: What a run's speed counts.
Unit = Literal["rows", "tokens"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training rows.

    Attributes:
        number: Counts from 1.
        train_loss: Mean over rows or tokens while weights changed, natural logarithm.
        validation_loss: The same of the held-out rows, at the epoch's end.
        seconds: Wall clock.
        amount: Rows or tokens that the weights were fitted on.
        cpu_seconds: Processor time of all workers.
        gpu_busy_seconds: Time in which the workers' GPUs computed, by NVML; None where nothing measured it.
        gpu_joules: Energy that these GPUs took, by NVML; None where nothing measured it.
    """

    number: int
    train_loss: float
    validation_loss: float
    seconds: float
    amount: int
    cpu_seconds: float = 0.0
    gpu_busy_seconds: float | None = None
    gpu_joules: float | None = None

    def __str__(self) -> str:
        losses = f"loss {self.train_loss:.4f}, held out {self.validation_loss:.4f}"
        return f"epoch {self.number}: {losses}, {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is within an epoch.

    Attributes:
        epoch: Counts from 1.
        epochs: Those of the run.
        done: The share of the run's steps that are done, 0 to 1.
        loss: Mean since the epoch began.
        per_second: Rows or tokens that all workers took a second since the run was started or resumed.
        unit: Which of them.
        seconds_left: Until the last step, at this speed.
    """

    epoch: int
    epochs: int
    done: float
    loss: float
    per_second: float
    unit: Unit
    seconds_left: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} of {self.epochs}, {self.done:.0%} done: loss {self.loss:.4f}, "
            f"{self.per_second:,.0f} {self.unit} a second, {timedelta(seconds=round(self.seconds_left))} left"
        )


@dataclass(frozen=True, slots=True)
class SearchProgress:
    """How far a search for hyperparameters is.

    Attributes:
        began: Trials with at least one epoch.
        trials: Those of the search.
        lowest: The lowest loss of held-out rows that a trial has now.
        cost: Of the trials so far, in the currency of the price sheet.
    """

    began: int
    trials: int
    lowest: float
    cost: float

    def __str__(self) -> str:
        return f"search: {self.began} of {self.trials} trials, held out {self.lowest:.4f}, cost {self.cost:.4g}"


class Score(Protocol):
    """A metric as a function of how often each row counts; `ray_jobs/core/scores.py` has those that there are."""

    def __call__(self, counts: Any) -> Any:
        """The metric's values [draws] for counts [draws, rows]; NaN where it has none. Arrays of float64."""
        ...

    def of(self, rows: Any) -> Score:
        """The metric of some rows alone, by their places."""
        ...

    def by_unit(self, units: Any, number: int) -> Score:
        """The metric of counts [draws, units]: `units` [rows] are the rows' units, whole numbers below `number`."""
        ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model's figures on one window.

    Attributes:
        metrics: Value by name; `tasks` tells which of them a task's gate compares.
        figures: What each plot of the task is drawn from, by the plot's name: values that JSON holds, in the form that
            the function of `quality.plots` takes which `tasks` names.
        scores: By name, the metrics that a gate can compare and slices can show. Comparing needs them; none is kept.
    """

    metrics: Mapping[str, float]
    figures: Mapping[str, Any]
    scores: Mapping[str, Score] = field(default_factory=dict, repr=False, compare=False)


class TrainedRun(Protocol):
    """A finished training run, as far as the platform records it."""

    @property
    def history(self) -> tuple[Epoch, ...]:
        """One entry for each epoch."""
        ...

    @property
    def unit(self) -> Unit:
        """What an epoch's amount counts."""
        ...

    @property
    def rows(self) -> int:
        """The number of rows that weights were fitted on."""
        ...

    @property
    def workers(self) -> int:
        """The number of training processes."""
        ...

    @property
    def accelerator(self) -> str:
        """The GPU's name, or "cpu"."""
        ...

    @property
    def seconds(self) -> float:
        """The run's wall clock time."""
        ...


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a training program returns: its run, each contender's evaluation on the same rows, and their comparison.

    `CHALLENGER` and `BASELINE` are always among the names, `CHAMPION` if there is one, and `PERSISTENCE` if the recipe
    names a column whose value stands for the answer. `search` is there if one chose values, and then `recipe`, with
    these values, is the one that was trained.
    """

    run: TrainedRun
    evaluations: Mapping[str, Evaluation]
    judgement: Judgement
    search: SearchOutcome | None = None
    recipe: Any = None


class Recipe(Protocol):
    """The complete configuration of a training run: a dataclass, whose fields the run record keeps.

    No row is in both windows: `gate_window` begins at the end of `train_window` or later, or is another fold.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def task(self) -> Task:
        """The kind of answer that the model is trained to give."""
        ...

    @property
    def label(self) -> str:
        """The training set's column that is predicted."""
        ...

    @property
    def row_key(self) -> str:
        """The training set's column that names a row."""
        ...

    @property
    def columns(self) -> Mapping[str, Holds]:
        """The columns of the training set that training and comparison read, and what each holds."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """The training set's columns that the model reads."""
        ...

    @property
    def quality_target(self) -> float | None:
        """The loss of held-out rows until which a run's time is recorded."""
        ...

    @property
    def train_window(self) -> Part: ...

    @property
    def gate_window(self) -> Part: ...


@dataclass(frozen=True, slots=True)
class Program:
    """A training program by its places, so that naming it loads nothing.

    Attributes:
        place: `module:class` of a `ray_jobs.core.program.Program`, such as `ray_jobs.tabular.program:Tabular`.
        loads: `module:function` that loads what it saved, `(folder) -> Predictor`; the caller has verified the digest.
        tasks: The tasks that it trains for.
        kinds: The technologies that Dagster shows as icons.
    """

    place: str
    loads: str
    tasks: tuple[Task, ...]
    kinds: tuple[str, ...]

    def load(self) -> Fabric:
        """The function that trains and compares models of this program; importing it loads the libraries it needs."""
        return partial(_imported(FABRIC), self)

    def definition(self) -> Any:
        """The program's class."""
        return _imported(self.place)

    def predictor(self, folder: Path) -> Predictor:
        """The model that the program saved in a folder; raises ModelError for one that it did not."""
        return _imported(self.loads)(folder)


#: Trains and compares the models of every program.
FABRIC = "ray_jobs.core.running:run"
#: Where a run trains: in the process that asks for it, or in a job of a cluster that outlives this process.
Place = Literal["process", "cluster"]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


OnProgress = Callable[[Epoch | Progress | SearchProgress], None]


class Fabric(Protocol):
    """Trains one model on the Ray cluster that the process is connected to, and compares it.

    Args:
        recipe: The configuration of the training run.
        place: Where it trains. A job of the cluster is not started twice: it is waited for.
        table_uri: The training set, a Delta table.
        table_version: The version of the training set.
        storage_path: Where checkpoints are written; an absolute path that all nodes reach.
        run_name: The name of the run's folder there. Where there is that folder, the run goes on in it.
        model_dir: Where the model is written; empty or absent, unless the run goes on.
        window: Where contenders are compared; no contender was trained on its rows.
        base_model_dir: The model to fine-tune; None to train from scratch.
        champion_dir: The model that serves now; None before the first.
        gate: How contenders are compared; its metrics are named.
        search: What chooses values of the recipe first; None to train the recipe as it is.
        prices: What the trials of a search are charged by; needed for one.
        on_progress: Is called after each epoch, and some seconds apart within one, in a thread of its own.
    """

    def __call__(
        self,
        recipe: Any,
        *,
        place: Place,
        table_uri: str,
        table_version: int,
        storage_path: str,
        run_name: str,
        model_dir: Path,
        window: Part,
        base_model_dir: Path | None,
        champion_dir: Path | None,
        gate: Gate,
        on_progress: OnProgress,
        search: Search | None = None,
        prices: PriceSheet | None = None,
    ) -> Challenge: ...

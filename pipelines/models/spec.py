"""What a domain declares of a model: what is asked, on what it is trained, by which program, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pipelines.contracts.domain import Domain
from pipelines.contracts.model import Contract
from pipelines.features.declaration import FeatureService
from pipelines.features.drift import DriftLimits
from pipelines.models.answers import Task
from pipelines.models.judgement import Gate
from pipelines.models.rollout_plan import Rollout
from pipelines.models.search import Search

if TYPE_CHECKING:
    from pipelines.models.program import Program, Recipe


#: What a wrong answer can do to people, in the words of the EU's AI Act (Regulation 2024/1689). Of the tier `high` a
#: person approves each version before it serves.
Risk = Literal["minimal", "limited", "high"]
#: The kinds of assets that a model has.
Kind = Literal["training", "models", "serving", "drift", "rollouts", "shadow"]
#: The first weights of a training run: random ones, or the champion's.
Mode = Literal["from_scratch", "fine_tune"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of a domain.

    Attributes:
        domain: The domain that declares it.
        name: Its name in the domain, such as `returns`; the registry has it as `shop.returns`.
        question: What is asked, and when, in one or two sentences.
        task: The kind of answer.
        program: The training program.
        recipes: The recipe of each mode; `from_scratch` is required, `fine_tune` begins with the champion's weights.
            The code location calls them when it loads, so they import no heavy library.
        training_set: The contract of the gold table that it is trained on.
        features: What it reads when it is asked; `NoFeatures` where the question tells everything.
        limits: What it must not be used for, one sentence each.
        gate: What a challenger must win.
        risk: What a wrong answer can do to people; versions of the tier `high` wait for a person's approval.
        drift: When its features count as drifted from those that it was trained on.
        priority: How early the queue launches its trainings: the higher, the earlier. None for that of the domain.
        search: How values of the recipe `from_scratch` are searched for, when a run is asked to.
        rollout: How a version that passed the gate takes over the service from the champion; None: at once.
    """

    domain: Domain
    name: str
    question: str
    task: Task
    program: Program
    recipes: Mapping[Mode, Callable[[], Recipe]]
    training_set: Contract
    features: FeatureService
    limits: tuple[str, ...]
    gate: Gate = field(default_factory=Gate)
    risk: Risk = "limited"
    drift: DriftLimits = field(default_factory=DriftLimits)
    priority: int | None = None
    search: Search | None = None
    rollout: Rollout | None = None

    @property
    def registered_name(self) -> str:
        """The model's name in the registry: `domain.name`."""
        return f"{self.domain.name}.{self.name}"

    def key(self, kind: Kind) -> tuple[str, str, str]:
        """The key of the asset that trains, registers, serves, watches or compares it, or moves its rollouts."""
        return (kind, self.domain.name, self.name)

    @property
    def online_store(self) -> tuple[tuple[str, str, str], ...]:
        """The key of the asset that fills the online store that it reads; none if it reads no feature."""
        return (("features", self.features.domain, "online"),) if self.features.views else ()

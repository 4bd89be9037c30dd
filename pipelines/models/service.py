"""What a domain declares of a service: the model that answers, and the questions that it takes.

    returns_service = ServiceSpec(RETURNS, OrderQuestion, PREDICTION)
    served = service_asset(returns_service)

The declaration stands in the module of the question's class: a replica imports that module to find both.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from pipelines.errors import DefinitionError, GoldpathError
from pipelines.models import question_check
from pipelines.models.question import Question
from pipelines.models.registry import RegisteredModel
from pipelines.models.spec import ModelSpec
from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    """The program that serves, by its places, so that naming it loads nothing.

    Attributes:
        place: `module:function` of a `Deploy`.
        arms: The module whose functions are `Arms`: a second version beside the one that serves.
    """

    place: str
    arms: str

    def load(self) -> Deploy:
        """The function; importing it loads the libraries that it needs."""
        module, _, name = self.place.partition(":")
        return getattr(importlib.import_module(module), name)

    def load_arms(self) -> Arms:
        """The module; importing it loads the libraries that it needs."""
        return cast("Arms", importlib.import_module(self.arms))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a probability is called: `positive` from the threshold on, and `negative` below it.

    The probabilities are calibrated, so the threshold 0.5 is "more likely than not".
    """

    positive: str = "yes"
    negative: str = "no"
    threshold: float = 0.5


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service.

    Attributes:
        model: The model that answers.
        question: The class of its questions, of the same module as this declaration.
        runtime: The program that serves it.
        decision: What the answers of a binary model are called.
        answers_unknown: Whether a question is answered of which no feature is known, from what it tells alone.

    Raises:
        DefinitionError: if the questions and the features do not make up the inputs of the model's recipes, or give
            them as other types.
    """

    model: ModelSpec
    question: type[Question]
    runtime: Runtime
    decision: Decision = field(default_factory=Decision)
    answers_unknown: bool = False

    def __post_init__(self) -> None:
        question_check.require(self.model, self.question)

    @property
    def name(self) -> str:
        """The service's name: that of its model, `domain.name`."""
        return self.model.registered_name

    @property
    def route(self) -> str:
        """The path that its addresses begin with."""
        return f"/{self.model.domain.name}/{self.model.name}"

    @property
    def place(self) -> str:
        """`module:name`, by which `find` gets this declaration."""
        return f"{self.question.__module__}:{self.name}"


class Deploy(Protocol):
    """Puts a model into service.

    Args:
        settings: Of the home folder.
        spec: The service.
        champion: The model.
        folder: Its verified files.

    Returns:
        The URL of the service.
    """

    def __call__(self, settings: Settings, spec: ServiceSpec, champion: RegisteredModel, folder: Path) -> str: ...


class Arms(Protocol):
    """Runs a candidate beside the version that serves; routes decide what it answers (`pipelines.rollout.routes`)."""

    def start(self, settings: Settings, spec: ServiceSpec, candidate: RegisteredModel, folder: Path) -> None:
        """Starts the candidate's program and returns when it can answer; raises GoldpathError if it does not start."""
        ...

    def running(self, settings: Settings, spec: ServiceSpec, digest: str) -> bool:
        """Whether a program with this candidate runs, or is being started again after its process ended."""
        ...

    def stop(self, settings: Settings, spec: ServiceSpec) -> None:
        """Ends the candidate's program; does nothing if there is none."""
        ...

    def watch(self, settings: Settings, spec: ServiceSpec) -> None:
        """Starts the program that looks at the service's rollout every second, unless it runs; it ends with it."""
        ...

    def finish(self, settings: Settings, spec: ServiceSpec, champion: RegisteredModel, folder: Path) -> None:
        """Lets the service serve the candidate as its own version, without a gap."""
        ...


def find(place: str) -> ServiceSpec:
    """The declaration at `module:name`.

    Raises:
        DefinitionError: if there is none, or its module cannot be imported.
    """
    module, _, name = place.partition(":")
    try:
        found = vars(importlib.import_module(module))
    except GoldpathError:
        raise
    except (Exception, SystemExit) as error:  # whatever a domain's code raises is about its services alone
        raise DefinitionError(
            object=f"service {name}",
            observed=f"{module} cannot be imported: {type(error).__name__}: {error}",
            expected="the module that declared it when it was deployed",
            next_step=f"correct or restore it; to give the service up, remove serving/deployments/{name}.json from the "
            "home folder",
        ) from error
    declared = [value for value in found.values() if isinstance(value, ServiceSpec)]
    for spec in declared:
        if spec.name == name:
            return spec
    raise DefinitionError(
        object=f"service {name}",
        observed=f"{module} declares {', '.join(spec.name for spec in declared) or 'no service'}",
        expected="a ServiceSpec of this name in the module of its question's class",
        next_step="move the declaration there",
    )

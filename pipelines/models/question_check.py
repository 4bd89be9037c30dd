"""Whether a service's questions and features make up the inputs of its model, with values of their types."""

from __future__ import annotations

from pipelines.errors import DefinitionError
from pipelines.models.question import Column, Question
from pipelines.models.spec import ModelSpec

#: The classes of the values that a column of a SQL type is asked with; other types are numbers.
TEXT, WHOLE, NUMBER = (str,), (int,), (int, float)
KEY_CLASSES: dict[str, tuple[type, ...]] = {"string": TEXT, "int": WHOLE, "bigint": WHOLE}

#: A value of the types of computed columns that are no numbers.
_COMPUTED: dict[str, Column] = {"string": "", "boolean": False}


def require(model: ModelSpec, question: type[Question]) -> None:
    """Raises DefinitionError if nothing gives an input or a key, if the question gives one as another type, or if it
    lacks a field that the rollout names.

    The values are those of the question about `nobody`; of a column that is null there, the type is not known.
    """
    _require_fields(model, question)
    computed = {name: type_ for declared in question.on_demand for name, type_ in declared.outputs.items()}
    given = question.model_validate(question.nobody).columns()
    given |= {name: _COMPUTED.get(type_, 0) for name, type_ in computed.items()}
    features = set(model.features.full_names)
    inputs = {name for make in model.recipes.values() for name in make().inputs}
    inputs = {*inputs, *model.features.asked} - set(model.features.computed)
    keys = {key: KEY_CLASSES[view.contract.column(key).type] for view in model.features.views for key in view.keys}
    if absent := sorted((inputs | set(keys)) - set(given) - features):
        raise DefinitionError(
            object=f"service {model.registered_name}",
            observed=f"nothing gives {', '.join(absent)}",
            expected="each key of the features, and each input of the model that is no feature, in the columns of "
            f"{question.__name__}",
            next_step=f"add them to `columns` in {question.__module__}, or to the feature service "
            f"{model.features.name}",
        )
    types = {column.name: column.type for column in model.training_set.columns}
    expected = {name: TEXT if types[name] == "string" else NUMBER for name in inputs - features if name in types} | keys
    for name, classes in expected.items():
        _require_value(model, question, (name, given[name]), classes, is_key=name in keys)


def _require_fields(model: ModelSpec, question: type[Question]) -> None:
    if model.rollout is None:
        return
    named = {model.rollout.assigned_by} - {""} | {name for guard in model.rollout.guards for name in guard.by}
    if absent := sorted(named - question.model_fields.keys()):
        raise DefinitionError(
            object=f"service {model.registered_name}",
            observed=f"its rollout names {', '.join(absent)}, which {question.__name__} lacks",
            expected=f"fields of the question: {', '.join(question.model_fields)}",
            next_step=f"correct `by` or `assigned_by` of the rollout, or add the field in {question.__module__}",
        )


def _require_value(
    model: ModelSpec, question: type[Question], given: tuple[str, Column], classes: tuple[type, ...], *, is_key: bool
) -> None:
    name, value = given
    # A boolean is a number to a model, and no key.
    if value is None or (isinstance(value, classes) and not (is_key and isinstance(value, bool))):
        return
    reads = "the features are keyed by" if is_key else "the model reads"
    raise DefinitionError(
        object=f"service {model.registered_name}",
        observed=f"{question.__name__} gives {name} as {type(value).__name__}",
        expected=f"what {reads}: {' or '.join(each.__name__ for each in classes)}",
        next_step=f"correct the field, or convert it in `columns`, in {question.__module__}",
    )

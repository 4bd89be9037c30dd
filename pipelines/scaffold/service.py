"""`goldpath new service`: the question of a model's callers, its service, and its predictions as tables."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.contracts.model import Column
from pipelines.landing.proposal.code import literal
from pipelines.models.spec import ModelSpec
from pipelines.scaffold import columns, predictions
from pipelines.scaffold.declared import Declared
from pipelines.scaffold.draft import Draft
from pipelines.scaffold.model import docstring
from pipelines.scaffold.module import Module

_FIELDS = {"string": "str", "int": "int", "bigint": "int", "boolean": "bool"}
_SAID = {"string": "a text", "int": "a whole number", "bigint": "a whole number", "boolean": "true or false"}
_NOBODY = {"string": '"nobody"', "int": "-1", "bigint": "-1", "boolean": "False"}
MOST_CHARACTERS = 256


def draft(model: Declared[ModelSpec]) -> Draft:
    """The service of a model and the tables of its predictions."""
    spec = model.value
    recipe = spec.recipes["from_scratch"]()
    features = {*spec.features.full_names, *spec.features.computed}
    told = [name for name in (*recipe.inputs, *spec.features.asked) if name not in features]
    names = dict.fromkeys([recipe.row_key, *spec.features.keys, *told])
    asked = [spec.training_set.column(name) for name in names]
    log = predictions.draft(model)
    domain, name = spec.domain.name, spec.name
    route = f"http://127.0.0.1:8099/{domain}/{name}/v1/predict"
    keys = ", ".join(spec.features.keys)
    notes = [*log.notes, f"a question about a {keys} of which no feature is known is refused: docs/services.md"]
    return Draft(log.contracts, [_service(model, recipe.row_key, asked), *log.modules], notes, [
        f"goldpath materialize features/{domain}/online serving/{domain}/{name}    # while `goldpath dev` runs",
        f"curl {route}    # docs/new-domain.md",
    ])  # fmt: skip


def _service(model: Declared[ModelSpec], key: str, asked: Sequence[Column]) -> Module:
    spec = model.value
    class_name = "".join(part.capitalize() for part in spec.name.split("_")) + "Question"
    required = {column.name for column in asked} & columns.required(spec.training_set)
    told = required | set(spec.features.keys)  # the type of a key is seen by its value
    fields = {column.name: columns.identifier(column.name) for column in asked}
    ordered = sorted(asked, key=lambda column: column.name not in required)
    subject = f"self.{fields[key]}" if spec.training_set.column(key).type == "string" else f"str(self.{fields[key]})"
    body = (
        f"class {class_name}(Question):\n"
        f"    {docstring(spec.question)}\n\n"
        "    nobody: ClassVar[dict[str, object]] = {\n"
        + "".join(f'        "{fields[c.name]}": {_NOBODY.get(c.type, "0.0")},\n' for c in ordered if c.name in told)
        + "    }\n\n"
        + "".join(f"    {_field(c, fields[c.name], c.name in required)}\n" for c in ordered)
        + "\n    @property\n"
        "    def subject(self) -> str:\n"
        f'        """The {key}, under which the outcome is found later."""\n'
        f"        return {subject}\n\n"
        "    def columns(self) -> dict[str, Column]:\n"
        '        """The keys of the features, and what the question tells, named as in the training set."""\n'
        "        return {\n"
        + "".join(f"            {literal(c.name)}: self.{fields[c.name]},\n" for c in asked)
        + "        }\n\n\n"
        f"{spec.name}_service = ServiceSpec({model.variable}, {class_name}, PREDICTION)\n"
        f"{spec.name}_served = service_asset({spec.name}_service)"
    )
    imports = {
        "typing": ("ClassVar",),
        "pydantic": ("Field",),
        model.module: (model.variable,),
        "pipelines.rollout.assets": ("service_asset",),
        "pipelines.models.question": ("Column", "Question"),
        "pipelines.models.service": ("ServiceSpec",),
        "serving.runtimes": ("PREDICTION",),
    }
    return Module("service.py", "The services of the domain: what is asked, and the model that answers.", imports, body)


def _field(column: Column, name: str, is_required: bool) -> str:
    """A field of a question."""
    kind = _FIELDS.get(column.type, "float")
    options = [f"description={literal(_description(column, is_required))}"]
    if kind == "str":
        options.insert(0, f"max_length={MOST_CHARACTERS}")
    if kind == "float":
        options.insert(0, "allow_inf_nan=False")
    if not is_required:
        options.insert(0, "None")
    line = f"{name}: {kind}{'' if is_required else ' | None'} = Field({', '.join(options)})"
    if len(line) <= 116:
        return line
    head, _, _ = line.partition("(")
    return f"{head}(\n        {', '.join(options)}\n    )"


def _description(column: Column, is_required: bool) -> str:
    allowed = _SAID.get(column.type, "a number")
    return f"{column.description.rstrip('.')}: {allowed}{'' if is_required else ', or null'}"

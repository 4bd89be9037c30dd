"""Reads a YAML file and validates it against the schema of the Open Data Contract Standard (ODCS) v3."""

from __future__ import annotations

import difflib
import functools
import re
from pathlib import Path
from typing import Any, ClassVar

from pipelines.contracts.nodes import refuse
from pipelines.errors import ContractError

#: The deepest that a contract is nested; each place is named in an error, and a schema is walked for each level.
_LEVELS = 40


def read_document(path: Path) -> dict[str, Any]:
    """The ODCS document of one file, with every property of the standard: None where the file does not set it.

    Raises:
        ContractError: if the file is not readable YAML, or breaks the schema; then it names the place in the file, the
            value there and what the schema allows.
    """
    import pydantic
    import yaml
    from open_data_contract_standard.model import OpenDataContractStandard

    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ContractError(
            object=str(path), observed=str(error), expected="a readable YAML file", next_step="correct the file"
        ) from None
    _require_json(path, document, [])
    if not _quick_validator().is_valid(document):
        _refuse_invalid(path, document)
    try:
        read = OpenDataContractStandard.model_validate(document).model_dump(by_alias=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        refuse(path, first["loc"], first["input"], first["msg"])
    _require_read(path, document, read, [])
    return read


def _refuse_invalid(path: Path, document: Any) -> None:
    """Raises ContractError with the cause for which the document breaks the schema, and its place."""
    import jsonschema

    errors = sorted(
        _schema_validator().iter_errors(document), key=lambda e: (-len(list(e.absolute_path)), str(e.message))
    )
    # A node that breaks another rule of the schema is reported as unevaluated too, which is a consequence, not a cause.
    causes = [error for error in errors if error.validator != "unevaluatedProperties"] or errors
    if causes:
        cause = jsonschema.exceptions.best_match(causes)
        refuse(path, cause.absolute_path, *_observed_and_expected(cause))


def _require_read(path: Path, node: Any, read: Any, at: list[Any]) -> None:
    """Raises ContractError for a key that the schema lets pass and that the document as it was read does not have."""
    if isinstance(node, dict) and isinstance(read, dict):
        for key, value in node.items():
            if key not in read:
                refuse(path, [*at, key], value, f"only {', '.join(read)}")
            _require_read(path, value, read[key], [*at, key])
    elif isinstance(node, list) and isinstance(read, list):
        for position, (value, value_read) in enumerate(zip(node, read, strict=True)):
            _require_read(path, value, value_read, [*at, position])


def _require_json(path: Path, node: Any, at: list[Any]) -> None:
    """Raises ContractError unless the document is one of JSON, nested no deeper than `_LEVELS`."""
    if len(at) > _LEVELS:
        refuse(path, at[:_LEVELS], "a document that is nested deeper", f"{_LEVELS} levels at most")
    if isinstance(node, dict):
        for key, value in node.items():
            if not isinstance(key, str):
                refuse(path, at, key, "a text for a key, in quotes")
            _require_json(path, value, [*at, key])
    elif isinstance(node, list):
        for position, value in enumerate(node):
            _require_json(path, value, [*at, position])
    elif not isinstance(node, str | int | float | None):
        refuse(path, at, str(node), "a text, in quotes")


def set_properties(document: Any) -> Any:
    """The document without the properties that its file does not set."""
    if isinstance(document, dict):
        # Custom properties and service levels may have no value, but have to have the property `value`.
        return {key: set_properties(value) for key, value in document.items() if value is not None or key == "value"}
    return [set_properties(value) for value in document] if isinstance(document, list) else document


def _observed_and_expected(cause: Any) -> tuple[Any, str]:
    """The value that breaks the schema, and what the schema allows in its place."""
    known = ", ".join(cause.schema.get("properties") or ())
    if cause.validator in ("additionalProperties", "unevaluatedProperties") and known:
        names = re.findall(r"'([^']+)'", cause.message.partition("(")[2]) or list(cause.instance)
        similar = difflib.get_close_matches(names[0], known.split(", "), n=1)
        return ", ".join(names), (f"{similar[0]}, or another " if similar else "one ") + f"of {known}"
    if cause.validator == "type":
        kind = {"object": "a mapping", "array": "a list"}.get(cause.validator_value, f"a {cause.validator_value}")
        return cause.instance, f"{kind} with {known}" if known else kind
    return cause.instance, ", or ".join(dict.fromkeys(error.message for error in cause.context)) or cause.message


#: Which unquoted texts are no strings: those of YAML 1.2's core schema, without numbers with leading zeros. PyYAML's
#: own rules, of YAML 1.1, read `NO` as false, `007` and `12:30` as other numbers, a date as an object that is no JSON.
_SCALARS = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    "float": (r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+))", "-+.0123456789"),
}


@functools.cache
def _loader() -> Any:
    """A safe YAML loader that reads an unquoted text as another type only if it means the same to everyone."""
    import yaml

    # The loader in C, where PyYAML was built with it: the contracts of a domain load 0.1 s sooner.
    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names: set[Any] = set()
            for key, _ in node.value:
                name = str(key.value)
                if name in names:
                    problem = f"the key {name!r} stands twice in one mapping"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                names.add(name)
            return super().construct_mapping(node, deep)

    for tag, (pattern, first) in _SCALARS.items():
        letters = ["" if letter == "\0" else letter for letter in first]
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"(?:{pattern})\\Z"), letters)
    Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), ["<"])
    return Loader


@functools.cache
def _schema() -> Any:
    import json
    from importlib import resources

    schema = resources.files("open_data_contract_standard").joinpath("schema.json")
    return json.loads(schema.read_text(encoding="utf-8"))


@functools.cache
def _quick_validator() -> Any:
    """Says whether a document fits the schema, in a hundredth of the time in which `_schema_validator` says why not."""
    import jsonschema_rs

    return jsonschema_rs.Draft201909Validator(_schema())


@functools.cache
def _schema_validator() -> Any:
    import jsonschema

    return jsonschema.Draft201909Validator(_schema())

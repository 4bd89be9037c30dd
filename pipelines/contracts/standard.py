"""Reads a YAML file and validates it against the schema of the Open Data Contract Standard (ODCS) v3."""

from __future__ import annotations

import difflib
import functools
import re
from pathlib import Path
from typing import Any

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
    import jsonschema
    import pydantic
    import yaml
    from open_data_contract_standard.model import OpenDataContractStandard

    try:
        # The same safe loader in C, where PyYAML was built with it: the contracts of a domain load 0.1 s sooner.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ContractError(
            object=str(path), observed=str(error), expected="a readable YAML file", next_step="correct the file"
        ) from None
    _require_json(path, document, [])
    validator = _schema_validator()
    errors = sorted(validator.iter_errors(document), key=lambda e: (-len(list(e.absolute_path)), str(e.message)))
    # A node that breaks another rule of the schema is reported as unevaluated too, which is a consequence, not a cause.
    causes = [error for error in errors if error.validator != "unevaluatedProperties"] or errors
    if causes:
        cause = jsonschema.exceptions.best_match(causes)
        refuse(path, cause.absolute_path, *_observed_and_expected(cause))
    try:
        read = OpenDataContractStandard.model_validate(document).model_dump(by_alias=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        refuse(path, first["loc"], first["input"], first["msg"])
    _require_read(path, document, read, [])
    return read


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


@functools.cache
def _schema_validator() -> Any:
    import json
    from importlib import resources

    import jsonschema

    schema = resources.files("open_data_contract_standard").joinpath("schema.json")
    return jsonschema.Draft201909Validator(json.loads(schema.read_text(encoding="utf-8")))

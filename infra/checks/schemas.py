"""Checks documents against strict JSON schemas, in which an unknown field is an error.

The schemas of core kinds are those of the package `kubernetes-validate`, generated from Kubernetes' OpenAPI
specification. It has none for RayCluster and Kustomization: these are in `infra/schemas`, and refer to the package's
schemas for pod templates and other core types.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from referencing import Registry, Resource

from infra.checks.documents import Document, Finding, get

KUBERNETES = "1.34.0"
OWN = Path(__file__).resolve().parent.parent / "schemas"


def schema_findings(document: Document) -> Iterator[Finding]:
    """Yields the errors of a document by the schema of its kind; a patch may lack required fields."""
    api_version = str(document.body.get("apiVersion"))
    validator = _validator(document.kind, api_version)
    if validator is None:
        observed = f"{api_version} {document.kind}"
        yield document.finding("kind", observed, f"a kind of Kubernetes {KUBERNETES} or of infra/schemas")
        return
    for error in validator.iter_errors(document.body):
        if document.stage == "patch" and error.validator == "required":
            continue
        allowed = f"{error.validator} {error.validator_value}"
        if error.validator == "additionalProperties":
            allowed = ", ".join(sorted(get(error.schema, "properties") or {}))
        yield document.finding(".".join(map(str, error.absolute_path)) or "document", error.message, allowed)


@functools.cache
def _validator(kind: str, api_version: str) -> Validator | None:
    own = OWN / f"{kind.lower()}.json"
    # In kubernetes-validate's file names, apps/v1 is apps-v1, and rbac.authorization.k8s.io/v1 is rbac-v1.
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    schema = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else _bundled(f"{kind.lower()}-{group}.json")
    if schema is None:
        return None
    known = [Resource.from_contents(contents) for contents in (schema, _bundled("_definitions.json"))]
    return Draft202012Validator(schema, registry=known @ Registry())


@functools.cache
def _bundled(name: str) -> Any:
    folder = importlib.resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{KUBERNETES}-local-strict"
    file = folder / name
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

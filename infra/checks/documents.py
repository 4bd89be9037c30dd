"""YAML documents, the pods in them, and the errors that checks report about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

#: A source gets its common labels from kustomize, a finished object must have them, a patch is only part of an object.
Stage = Literal["source", "finished", "patch"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One error.

    Attributes:
        file: The file, as messages name it.
        document: Kind and name of the object: `Service/webserver`.
        path: The dotted path of the field in the document.
        observed: The value there.
        allowed: The values that are allowed there.
    """

    file: str
    document: str
    path: str
    observed: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.file}: {self.document}: {self.path}: {self.observed[:300]}. Allowed: {self.allowed[:300]}"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document, and the file that contains it."""

    file: str
    body: Mapping[str, Any]
    stage: Stage = "source"

    @property
    def kind(self) -> str:
        return str(self.body.get("kind"))

    @property
    def name(self) -> str:
        return str(get(self.body, "metadata.name") or "")

    def finding(self, path: str, observed: object, allowed: object) -> Finding:
        """The error that a field of this document has a value that is not allowed."""
        return Finding(self.file, f"{self.kind}/{self.name}".rstrip("/"), path, str(observed), str(allowed))


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod template, its path in the document, and the labels of its pods."""

    document: Document
    path: str
    template: Mapping[str, Any]
    labels: Mapping[str, str]

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.template["spec"]


class _UniqueKeys(yaml.SafeLoader):
    """A YAML loader for which a repeated key is an error; PyYAML's own loader silently keeps the second value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is repeated", node.start_mark)
        return mapping


def parse(file: str, text: str, stage: Stage = "source") -> list[Document]:
    """The documents of a YAML text, without empty ones.

    Raises:
        yaml.YAMLError: if the text is not YAML, or a key is repeated.
    """
    loader = _UniqueKeys(text)
    loader.name = file  # for the messages of errors
    documents = []
    while loader.check_data():
        if body := loader.get_data():
            documents.append(Document(file, body, stage))
    return documents


def get(body: Any, path: str) -> Any:
    """The value at a dotted path; None if there is no such path."""
    for part in path.split("."):
        if not isinstance(body, Mapping):
            return None
        body = body.get(part)
    return body


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields every mapping in a node, the node included, with its dotted path."""
    if isinstance(node, Mapping):
        yield path, node
    items = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from walk(value, f"{path}.{key}".lstrip("."))


def pods(document: Document) -> Iterator[Pod]:
    """Yields every pod template of a document, at any depth."""
    for path, node in walk(document.body):
        if isinstance(get(node, "spec.containers"), list):
            labels = dict(get(node, "metadata.labels") or {})
            if document.kind == "RayCluster":
                labels["ray.io/cluster"] = document.name  # KubeRay adds this label
            yield Pod(document, path, node, labels)

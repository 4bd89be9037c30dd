"""Checks references across all documents: named objects, keys of Secrets and ConfigMaps, accounts, and selectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.checks.documents import Document, Finding, Pod, get, pods, walk

#: Fields that name another object, with the attribute that holds the name and the kind of the object.
FIELDS = {
    "configMapRef": ("name", "ConfigMap"),
    "configMapKeyRef": ("name", "ConfigMap"),
    "configMap": ("name", "ConfigMap"),
    "secretRef": ("name", "Secret"),
    "secretKeyRef": ("name", "Secret"),
    "secret": ("secretName", "Secret"),
    "authOptions": ("secretName", "Secret"),
    "persistentVolumeClaim": ("claimName", "PersistentVolumeClaim"),
    "roleRef": ("name", "Role"),
}
#: Kubernetes creates this ConfigMap in every namespace.
ROOT_CA = Document("", {"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}})


def reference_findings(documents: Sequence[Document]) -> Iterator[Finding]:
    """Yields an error for each reference to an object that no document (patches excepted) defines."""
    index = {(d.kind, d.name): d for d in [*documents, ROOT_CA] if d.stage != "patch"}
    every_pod = [pod for document in documents for pod in pods(document)]
    bindings = [document for document in documents if document.kind == "RoleBinding"]
    trusted = {subject["name"] for binding in bindings for subject in binding.body.get("subjects", ())}
    for document in documents:
        for path, node in walk(document.body):
            yield from _objects(document, path, node, index)
            for field in ("selector", "podSelector"):
                if isinstance(selector := node.get(field), Mapping):
                    yield from _selector(document, f"{path}.{field}", selector, every_pod)
        for pod in pods(document):
            account = pod.spec.get("serviceAccountName")
            if ("ServiceAccount", account) not in index:
                yield document.finding(f"{pod.path}.spec.serviceAccountName", account, _names(index, "ServiceAccount"))
            if pod.spec.get("automountServiceAccountToken") and account not in trusted:
                at = f"{pod.path}.spec.automountServiceAccountToken"
                yield document.finding(at, True, f"False, as no RoleBinding gives {account} any rights")


def _objects(
    document: Document, path: str, node: Mapping[str, Any], index: Mapping[tuple[str, str], Document]
) -> Iterator[Finding]:
    """Yields an error for each object or key that a mapping names and that does not exist."""
    for field, (attribute, kind) in FIELDS.items():
        if name := get(node, f"{field}.{attribute}"):
            if (kind, name) not in index:
                yield document.finding(f"{path}.{field}.{attribute}".lstrip("."), name, _names(index, kind))
            elif field.endswith("KeyRef"):
                body = index[kind, name].body
                keys = sorted([*(body.get("data") or {}), *(body.get("stringData") or {})])
                if node[field].get("key") not in keys:
                    yield document.finding(f"{path}.{field}.key", node[field].get("key"), ", ".join(keys))


def _selector(
    document: Document, path: str, selector: Mapping[str, Any], every_pod: Sequence[Pod]
) -> Iterator[Finding]:
    """Yields an error for each label value of a selector that no pod has."""
    plain = {} if {"matchLabels", "matchExpressions"} & set(selector) else selector
    labels = list((selector.get("matchLabels") or plain).items())
    terms = selector.get("matchExpressions", ())
    labels += [(term["key"], value) for term in terms for value in term.get("values", ())]
    for key, value in labels:
        if not any(pod.labels.get(key) == value for pod in every_pod):
            values = sorted({pod.labels[key] for pod in every_pod if key in pod.labels})
            yield document.finding(path, f"{key}={value} selects no pod", ", ".join(values))


def _names(index: Mapping[tuple[str, str], Document], kind: str) -> str:
    """The names of all objects of a kind, for a message."""
    return ", ".join(sorted(name for other, name in index if other == kind)) or f"none, as there is no {kind}"

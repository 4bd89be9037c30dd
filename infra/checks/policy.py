"""House policy: what a manifest may say although Kubernetes would take more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infra.checks.documents import Document, Finding, Pod, get, pods, walk

COMMON_LABELS = (
    "app.kubernetes.io/part-of",
    "goldpath.io/cost-center",
    "goldpath.io/business-unit",
    "goldpath.io/project",
    "goldpath.io/application",
    "goldpath.io/environment",
)

Rules = Mapping[str, tuple[Any, ...]]

# Path -> the values that are allowed there; None stands for an absent field.
POD: Rules = {
    "securityContext.runAsNonRoot": (True,),
    "securityContext.seccompProfile.type": ("RuntimeDefault",),
    "automountServiceAccountToken": (False, True),
    # Links are variables named after Services: MLFLOW_PORT is an option of MLflow's, and GOLDPATH_* must be a setting.
    "enableServiceLinks": (False,),
    "hostNetwork": (None, False),
    "hostPID": (None, False),
    "hostIPC": (None, False),
}
CONTAINER: Rules = {
    "securityContext.allowPrivilegeEscalation": (False,),
    "securityContext.readOnlyRootFilesystem": (True,),
    "securityContext.capabilities.drop": (["ALL"],),
    "securityContext.capabilities.add": (None,),
    "securityContext.privileged": (None, False),
    "securityContext.runAsNonRoot": (None, True),
    "securityContext.runAsUser": (None,),
}
KINDS: Mapping[str, Rules] = {
    "Service": {"spec.type": (None, "ClusterIP"), "spec.externalIPs": (None,)},
    "RayCluster": {
        "spec.authOptions.mode": ("token",),
        "spec.headGroupSpec.rayStartParams.dashboard-host": ("127.0.0.1",),
    },
}
QUANTITIES = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")
IMAGE = re.compile(r".+(:(?!latest$)\w[\w.-]*|@sha256:[0-9a-f]{64})")
SECRET = re.compile(r"(PASSWORD|TOKEN|SECRET|API_KEY|ACCESS_KEY|AUTH)$")


def policy_findings(document: Document) -> Iterator[Finding]:
    """What house policy says of one object and of the pods in it."""
    yield from _rules(document, "", document.body, KINDS.get(document.kind, {}))
    if document.kind.startswith("ClusterRole"):
        yield document.finding("kind", document.kind, "rights within the namespace: Role and RoleBinding")
    for field in ("data", "stringData") if document.kind == "Secret" else ():
        for key in (key for key, value in (document.body.get(field) or {}).items() if value):
            yield document.finding(f"{field}.{key}", "a value", "an empty string, as values stay out of the repository")
    for path, node in walk(document.body):
        if "hostPath" in node:
            yield document.finding(f"{path}.hostPath", node["hostPath"], "a PersistentVolumeClaim or an emptyDir")
        for field in ("apiGroups", "resources", "verbs") if document.kind == "Role" else ():
            if "*" in node.get(field, ()):
                yield document.finding(f"{path}.{field}", "*", "names, one by one")
    if options := get(document.body, "spec.autoscalerOptions"):  # KubeRay makes a container of them
        yield from _rules(document, "spec.autoscalerOptions.", options, CONTAINER)
        yield from _quantities(document, "spec.autoscalerOptions.", options)
    for pod in pods(document):
        yield from _rules(document, f"{pod.path}.spec.", pod.spec, POD)
        for kind in ("containers", "initContainers"):
            for container in pod.spec.get(kind) or ():
                yield from _container(pod, kind, container)


def label_findings(document: Document, values: Mapping[str, str]) -> Iterator[Finding]:
    """Do an object and its pods carry the common labels, with these values?"""
    carried = [("metadata.labels", get(document.body, "metadata.labels") or {})]
    carried += [(f"{pod.path}.metadata.labels", pod.labels) for pod in pods(document)]
    for path, labels in carried:
        for label in (label for label in COMMON_LABELS if not labels.get(label) or labels[label] != values.get(label)):
            yield document.finding(f"{path}.{label}", labels.get(label), values.get(label, "a value"))


def _rules(document: Document, path: str, body: Any, rules: Rules) -> Iterator[Finding]:
    for rule, allowed in rules.items():
        if (value := get(body, rule)) not in allowed:
            words = ["absent" if choice is None else str(choice) for choice in allowed]
            yield document.finding(f"{path}{rule}", value, " or ".join(words))


def _container(pod: Pod, kind: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    document, path = pod.document, f"{pod.path}.spec.{kind}.{container.get('name')}."
    yield from _rules(document, path, container, CONTAINER)
    yield from _quantities(document, path, container)
    image = container.get("image")
    if not IMAGE.fullmatch(str(image)):
        yield document.finding(f"{path}image", image, "a tag that is not latest, or a digest")
    long_lived = kind == "containers" and document.kind != "Job"
    if long_lived and not (container.get("readinessProbe") or container.get("livenessProbe")):
        yield document.finding(f"{path}readinessProbe", None, "a readinessProbe or a livenessProbe")
    for variable in container.get("env") or ():
        name, value = variable["name"], variable.get("value")
        if value and SECRET.search(name):
            yield document.finding(f"{path}env.{name}", "a literal value", "valueFrom.secretKeyRef")
        if name == "DAGSTER_CONTAINER_IMAGE" and value != image:
            yield document.finding(f"{path}env.{name}", value, f"{image}, the image of the container")


def _quantities(document: Document, path: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    for which in QUANTITIES:
        if not QUANTITY.fullmatch(str(value := get(container, f"resources.{which}"))):
            yield document.finding(f"{path}resources.{which}", value, "a quantity, such as 500m or 2Gi")

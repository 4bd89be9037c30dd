"""The platform's policy for manifests, which allows less than Kubernetes does."""

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

#: The allowed values of a field, by its path in a pod's spec, a container or an object; None means an absent field.
POD: Rules = {
    "securityContext.runAsNonRoot": (True,),
    "securityContext.seccompProfile.type": ("RuntimeDefault",),
    "automountServiceAccountToken": (False, True),
    # Service links are variables named after Services, such as MLFLOW_PORT, which MLflow takes for its own option; and
    # a GOLDPATH_ variable that is not a setting is an error.
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
    """Yields an error for each field of one object, or of a pod in it, with a value that the policy does not allow."""
    yield from _rules(document, "", document.body, KINDS.get(document.kind, {}))
    if document.kind.startswith("ClusterRole"):
        yield document.finding("kind", document.kind, "rights within the namespace: Role and RoleBinding")
    for field in ("data", "stringData") if document.kind == "Secret" else ():
        for key in (key for key, value in (document.body.get(field) or {}).items() if value):
            yield document.finding(f"{field}.{key}", "a value", "an empty string: no secret belongs in the repository")
    for path, node in walk(document.body):
        if "hostPath" in node:
            yield document.finding(f"{path}.hostPath", node["hostPath"], "a PersistentVolumeClaim or an emptyDir")
        for field in ("apiGroups", "resources", "verbs") if document.kind == "Role" else ():
            if "*" in node.get(field, ()):
                yield document.finding(f"{path}.{field}", "*", "a list of names")
    if options := get(document.body, "spec.autoscalerOptions"):  # KubeRay creates a container from them
        yield from _rules(document, "spec.autoscalerOptions.", options, CONTAINER)
        yield from _quantities(document, "spec.autoscalerOptions.", options)
    for pod in pods(document):
        yield from _rules(document, f"{pod.path}.spec.", pod.spec, POD)
        for kind in ("containers", "initContainers"):
            for container in pod.spec.get(kind) or ():
                yield from _container(pod, kind, container)


def label_findings(document: Document, values: Mapping[str, str]) -> Iterator[Finding]:
    """Yields an error for each common label that an object or one of its pods lacks, or has with another value."""
    labelled = [("metadata.labels", get(document.body, "metadata.labels") or {})]
    labelled += [(f"{pod.path}.metadata.labels", pod.labels) for pod in pods(document)]
    for path, labels in labelled:
        for label in (label for label in COMMON_LABELS if not labels.get(label) or labels[label] != values.get(label)):
            yield document.finding(f"{path}.{label}", labels.get(label), values.get(label, "a value"))


def _rules(document: Document, path: str, body: Any, rules: Rules) -> Iterator[Finding]:
    for rule, allowed in rules.items():
        if (value := get(body, rule)) not in allowed:
            choices = ["absent" if choice is None else str(choice) for choice in allowed]
            yield document.finding(f"{path}{rule}", value, " or ".join(choices))


def _container(pod: Pod, kind: str, container: Mapping[str, Any]) -> Iterator[Finding]:
    document, path = pod.document, f"{pod.path}.spec.{kind}.{container.get('name')}."
    yield from _rules(document, path, container, CONTAINER)
    yield from _quantities(document, path, container)
    image = container.get("image")
    if not IMAGE.fullmatch(str(image)):
        yield document.finding(f"{path}image", image, "a tag other than latest, or a digest")
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
    for name in QUANTITIES:
        if not QUANTITY.fullmatch(str(value := get(container, f"resources.{name}"))):
            yield document.finding(f"{path}resources.{name}", value, "a quantity, such as 500m or 2Gi")

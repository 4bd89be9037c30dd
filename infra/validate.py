"""Checks the manifests without a cluster: schemas, house policy, references between objects, and Dagster's own loaders.

    python infra/validate.py                            every file below infra/kubernetes
    kubectl kustomize … | python infra/validate.py -    what kustomize makes of them

Prints a line for each file that is right. For each thing that is wrong: the file, the document, the path in it, the
value seen and the values allowed; then the exit status is 1.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

INFRA = Path(__file__).resolve().parent
if not __package__:  # run as a script: Python knows this folder, and not the one that `infra` is in
    sys.path.insert(0, str(INFRA.parent))

from infra.checks import dagster_config, kustomizations  # noqa: E402
from infra.checks.documents import Document, Finding, get, parse  # noqa: E402
from infra.checks.policy import COMMON_LABELS, label_findings, policy_findings  # noqa: E402
from infra.checks.references import reference_findings  # noqa: E402
from infra.checks.schemas import schema_findings  # noqa: E402

MANIFESTS = INFRA / "kubernetes"
SECRETS = MANIFESTS / "secret.example.yaml"


def validate_tree(root: Path) -> tuple[dict[str, int], list[Finding]]:
    """Checks every file below `root`.

    Returns:
        Documents by file, and what is wrong.
    """
    documents: list[Document] = []
    findings: list[Finding] = []
    folders = {path.parent for path in root.rglob(kustomizations.NAME)}
    for path in sorted(root.rglob("*.yaml")):
        file = str(path.relative_to(root.parent.parent))
        try:
            if path.name == kustomizations.NAME:
                found, wrong = kustomizations.collect(path.parent, file)
                documents += found
                findings += wrong
            elif path.parent not in folders:
                documents += parse(file, path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            unreadable = Finding(file, "document", "YAML", " ".join(str(error).split()), "YAML with each key once")
            return {}, [unreadable]
    labels: dict[str, str] = {}
    for kustomization in (document for document in documents if document.body.get("labels")):
        for entry in kustomization.body["labels"]:
            labels |= entry["pairs"]
        for label in (label for label in COMMON_LABELS if not labels.get(label)):
            findings.append(kustomization.finding("labels.pairs", f"no {label}", ", ".join(COMMON_LABELS)))
    return _judge(documents, findings, labels)


def validate_stream(text: str) -> tuple[dict[str, int], list[Finding]]:
    """Checks finished objects, as `kubectl kustomize` prints them: all carry the common labels of their Namespace."""
    documents = parse("stdin", text, "finished")
    namespaces = (document for document in documents if document.kind == "Namespace")
    labels: Mapping[str, str] = next((get(namespace.body, "metadata.labels") for namespace in namespaces), {})
    return _judge([*documents, *parse(SECRETS.name, SECRETS.read_text(encoding="utf-8"))], [], labels)


def _judge(
    documents: Sequence[Document], findings: list[Finding], labels: Mapping[str, str]
) -> tuple[dict[str, int], list[Finding]]:
    services = [document for document in documents if document.kind == "Service"]
    jobs: list[Document] = []
    unloadable: list[Finding] = []
    for config in (d for d in documents if d.kind == "ConfigMap" and "dagster.yaml" in d.body.get("data", {})):
        found, wrong = dagster_config.load(config, services)
        jobs += found
        unloadable += wrong
    findings += unloadable
    for document in (*documents, *jobs):
        findings += schema_findings(document)
        findings += policy_findings(document)
        if document.stage == "finished":
            findings += label_findings(document, labels)
    if not unloadable:  # without its Job, every selector of runs would seem to select nothing
        findings += reference_findings([*documents, *jobs])
    return dict(Counter(document.file for document in documents)), findings


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 if nothing is wrong."""
    if arguments == ["-"]:
        files, findings = validate_stream(sys.stdin.read())
    else:
        files, findings = validate_tree(Path(arguments[0]).resolve() if arguments else MANIFESTS)
    wrong = {finding.file for finding in findings}
    for file, count in files.items():
        if file not in wrong:
            print(f"ok  {file}: {count}")
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

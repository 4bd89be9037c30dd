"""Checks the manifests without a cluster: schemas, the platform's policy, references, and Dagster's own loaders.

    python infra/validate.py                            every file below infra/kubernetes
    kubectl kustomize … | python infra/validate.py -    the objects that kustomize prints

Prints a line for each file without errors, and for each error the file, the document, the path in the document, the
observed value and the allowed values. The exit status is 1 if there is an error.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

INFRA = Path(__file__).resolve().parent
if not __package__:  # run as a script, with only this folder on the module path
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
        The number of documents in each file, and the errors.
    """
    documents: list[Document] = []
    findings: list[Finding] = []
    folders = {path.parent for path in root.rglob(kustomizations.NAME)}
    for path in sorted(root.rglob("*.yaml")):
        file = str(path.relative_to(root.parent.parent))
        try:
            if path.name == kustomizations.NAME:
                kustomized, errors = kustomizations.collect(path.parent, file)
                documents += kustomized
                findings += errors
            elif path.parent not in folders:
                documents += parse(file, path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            parse_error = Finding(file, "document", "YAML", " ".join(str(error).split()), "YAML with each key once")
            return {}, [parse_error]
    labels: dict[str, str] = {}
    for kustomization in (document for document in documents if document.body.get("labels")):
        for entry in kustomization.body["labels"]:
            labels |= entry["pairs"]
        for label in (label for label in COMMON_LABELS if not labels.get(label)):
            findings.append(kustomization.finding("labels.pairs", f"no {label}", ", ".join(COMMON_LABELS)))
    return _check(documents, findings, labels)


def validate_stream(text: str) -> tuple[dict[str, int], list[Finding]]:
    """Checks finished objects, as `kubectl kustomize` prints them; all must have the common labels of their Namespace.

    Returns:
        The number of documents in each file, and the errors.
    """
    documents = parse("stdin", text, "finished")
    namespaces = (document for document in documents if document.kind == "Namespace")
    labels: Mapping[str, str] = next((get(namespace.body, "metadata.labels") for namespace in namespaces), {})
    return _check([*documents, *parse(SECRETS.name, SECRETS.read_text(encoding="utf-8"))], [], labels)


def _check(
    documents: Sequence[Document], findings: list[Finding], labels: Mapping[str, str]
) -> tuple[dict[str, int], list[Finding]]:
    """Adds the errors of all documents, and of the Job of a run, to `findings`; returns as the functions above."""
    services = [document for document in documents if document.kind == "Service"]
    jobs: list[Document] = []
    load_errors: list[Finding] = []
    for config in (d for d in documents if d.kind == "ConfigMap" and "dagster.yaml" in d.body.get("data", {})):
        run_jobs, errors = dagster_config.load(config, services)
        jobs += run_jobs
        load_errors += errors
    findings += load_errors
    for document in (*documents, *jobs):
        findings += schema_findings(document)
        findings += policy_findings(document)
        if document.stage == "finished":
            findings += label_findings(document, labels)
    if not load_errors:  # without the Job of a run, every selector of runs would be reported
        findings += reference_findings([*documents, *jobs])
    return dict(Counter(document.file for document in documents)), findings


def main(arguments: Sequence[str]) -> int:
    """Checks what the arguments name and prints the result; returns the exit status."""
    if arguments == ["-"]:
        files, findings = validate_stream(sys.stdin.read())
    else:
        files, findings = validate_tree(Path(arguments[0]).resolve() if arguments else MANIFESTS)
    files_with_errors = {finding.file for finding in findings}
    for file, count in files.items():
        if file not in files_with_errors:
            print(f"ok  {file}: {count}")
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

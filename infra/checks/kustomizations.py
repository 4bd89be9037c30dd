"""Reads a folder with a kustomization.yaml, which must name exactly the files of the folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.checks.documents import Document, Finding, Stage, parse

NAME = "kustomization.yaml"


def collect(folder: Path, file: str) -> tuple[list[Document], list[Finding]]:
    """Reads a kustomization and the files of its folder that it names.

    Args:
        folder: The folder.
        file: The name of the kustomization.yaml in messages.

    Returns:
        The documents (the Kustomization itself, its resources and patches, and the ConfigMaps that it generates), and
        an error for each file that is named and missing, or present and not named.
    """
    [kustomization] = parse(file, (folder / NAME).read_text(encoding="utf-8"))
    body = kustomization.body
    generators = body.get("configMapGenerator", ())
    patches = {patch["path"] for patch in body.get("patches", ()) if "path" in patch}
    sources = {source for generator in generators for key in ("envs", "files") for source in generator.get(key, ())}
    resources = set(body.get("resources", ()))
    present = {path.name for path in folder.iterdir() if path.is_file()} - {NAME}

    findings = [
        kustomization.finding("resources", f"{name} is missing", ", ".join(sorted(present)))
        for name in sorted(resources | patches | sources)
        if not ((folder / name).is_file() or (folder / name / NAME).is_file())
    ]
    findings += [
        kustomization.finding("resources", f"{name} is in the folder and is not listed", "only listed files")
        for name in sorted(present - resources - patches - sources)
    ]
    documents = [kustomization]
    for name in sorted((resources | patches) & present):
        stage: Stage = "patch" if name in patches else "source" if body.get("labels") else "finished"
        documents += parse(str(Path(file).with_name(name)), (folder / name).read_text(encoding="utf-8"), stage)
    documents += [Document(file, _config_map(folder, generator, present)) for generator in generators]
    return documents, findings


def _config_map(folder: Path, generator: Mapping[str, Any], present: set[str]) -> Mapping[str, Any]:
    """The ConfigMap that kustomize generates from the files that are present."""
    data = {name: (folder / name).read_text(encoding="utf-8") for name in generator.get("files", ()) if name in present}
    lines = list(generator.get("literals", ()))
    for name in (name for name in generator.get("envs", ()) if name in present):
        lines += (folder / name).read_text(encoding="utf-8").splitlines()
    data |= dict(line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}

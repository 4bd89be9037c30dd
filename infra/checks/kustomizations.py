"""A folder with a kustomization.yaml: every file that it names is there, every file that is there it names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.checks.documents import Document, Finding, Stage, parse

NAME = "kustomization.yaml"


def collect(folder: Path, file: str) -> tuple[list[Document], list[Finding]]:
    """What a kustomization brings in from its own folder.

    Args:
        folder: The folder.
        file: The kustomization's name in messages.

    Returns:
        The Kustomization itself, the documents of its resources, its patches, and the ConfigMaps that it generates;
        and what is wrong with its list of files.
    """
    [kustomization] = parse(file, (folder / NAME).read_text(encoding="utf-8"))
    body = kustomization.body
    generators = body.get("configMapGenerator", ())
    patches = {patch["path"] for patch in body.get("patches", ()) if "path" in patch}
    sources = {source for generator in generators for key in ("envs", "files") for source in generator.get(key, ())}
    resources = set(body.get("resources", ()))
    there = {path.name for path in folder.iterdir() if path.is_file()} - {NAME}

    findings = [
        kustomization.finding("resources", f"{name} is not there", ", ".join(sorted(there)))
        for name in sorted(resources | patches | sources)
        if not ((folder / name).is_file() or (folder / name / NAME).is_file())
    ]
    findings += [
        kustomization.finding("resources", f"{name} stands in the folder and is not listed", "a file that is listed")
        for name in sorted(there - resources - patches - sources)
    ]
    documents = [kustomization]
    for name in sorted((resources | patches) & there):
        stage: Stage = "patch" if name in patches else "source" if body.get("labels") else "finished"
        documents += parse(str(Path(file).with_name(name)), (folder / name).read_text(encoding="utf-8"), stage)
    documents += [Document(file, _config_map(folder, generator, there)) for generator in generators]
    return documents, findings


def _config_map(folder: Path, generator: Mapping[str, Any], there: set[str]) -> Mapping[str, Any]:
    """What kustomize generates, as far as the files are there."""
    data = {name: (folder / name).read_text(encoding="utf-8") for name in generator.get("files", ()) if name in there}
    lines = list(generator.get("literals", ()))
    for name in (name for name in generator.get("envs", ()) if name in there):
        lines += (folder / name).read_text(encoding="utf-8").splitlines()
    data |= dict(line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}

"""Loads dagster.yaml and workspace.yaml with Dagster's own loaders, and builds the Job that its launcher creates."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from infra.checks.documents import Document, Finding


def load(config: Document, services: Sequence[Document]) -> tuple[list[Document], list[Finding]]:
    """Loads a ConfigMap that holds both files.

    Args:
        config: The ConfigMap.
        services: The Services that the workspace may name.

    Returns:
        The Job of a run, to be checked like any other object; and the errors that Dagster raises.
    """
    from dagster._core.errors import DagsterInvalidConfigError
    from dagster._core.instance.ref import InstanceRef
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    jobs, findings = [], []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name, text in config.body["data"].items():
            (home / name).write_text(text, encoding="utf-8")
        try:
            instance = InstanceRef.from_dir(folder)
            _ = instance.compute_log_manager, instance.run_coordinator
            jobs.append(Document(config.file, _run_job(home), "finished"))
        except (DagsterInvalidConfigError, ImportError, AttributeError, TypeError, ValueError) as error:
            findings.append(config.finding("dagster.yaml", " ".join(str(error).split()), "a file that Dagster loads"))
        try:
            origins = location_origins_from_yaml_paths([str(home / "workspace.yaml")])
        except (DagsterInvalidConfigError, OSError, ValueError) as error:
            origins = []
            findings.append(config.finding("workspace.yaml", " ".join(str(error).split()), "a file that Dagster loads"))
    addresses = sorted(f"{s.name}:{port['port']}" for s in services for port in s.body["spec"]["ports"])
    for origin in origins:
        address = f"{getattr(origin, 'host', None)}:{getattr(origin, 'port', None)}"
        if address not in addresses:
            findings.append(config.finding("workspace.yaml", address, f"one of {', '.join(addresses)}"))
    return jobs, findings


def _run_job(home: Path) -> Mapping[str, Any]:
    """The Kubernetes Job of a run, built by the launcher that `home`/dagster.yaml configures, without a cluster."""
    import kubernetes.client
    from dagster import DagsterRun
    from dagster._config import process_config
    from dagster._core.errors import DagsterInvalidConfigError
    from dagster_k8s import K8sRunLauncher
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import construct_dagster_k8s_job, get_job_name_from_run_id

    cluster = {"name": "nowhere", "cluster": {"server": "http://127.0.0.1"}}
    context = {"name": "nowhere", "context": {"cluster": "nowhere", "user": ""}}
    kubeconfig = {"current-context": "nowhere", "clusters": [cluster], "contexts": [context], "users": []}
    (home / "kubeconfig").write_text(json.dumps(kubeconfig), encoding="utf-8")
    config = yaml.safe_load((home / "dagster.yaml").read_text(encoding="utf-8"))["run_launcher"]["config"]
    config |= {"load_incluster_config": False, "kubeconfig_file": str(home / "kubeconfig")}
    processed = process_config(K8sRunLauncher.config_type(), config)
    if processed.value is None:
        raise DagsterInvalidConfigError("run_launcher.config", processed.errors, config)
    launcher = K8sRunLauncher(**processed.value)
    run = DagsterRun(job_name="run", run_id="run")
    container = K8sContainerContext.create_for_run(run, launcher, include_run_tags=True)
    job = construct_dagster_k8s_job(
        job_config=container.get_k8s_job_config(job_image="goldpath:run", run_launcher=launcher),
        args=["dagster", "api", "execute_run"],
        job_name=get_job_name_from_run_id(run.run_id),
        component="run_worker",
        user_defined_k8s_config=container.run_k8s_config,
    )
    manifest: Mapping[str, Any] = kubernetes.client.ApiClient().sanitize_for_serialization(job)
    return manifest

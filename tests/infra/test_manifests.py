"""The manifests pass the offline validator, and the validator names the error of each broken one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
import yaml

from infra.validate import INFRA, MANIFESTS, validate_stream, validate_tree
from pipelines.cost.prices import PriceSheet
from pipelines.settings import PREFIX, Settings

BASE = MANIFESTS / "base"
OVERLAYS = sorted(path.name for path in (MANIFESTS / "overlays").iterdir())


def test_all_manifests_pass_the_validator_as_make_lint_runs_it() -> None:
    script = subprocess.run(
        [sys.executable, "infra/validate.py"], cwd=INFRA.parent, capture_output=True, text=True, check=False
    )

    assert script.returncode == 0, script.stderr
    files = {line.split()[1].rstrip(":") for line in script.stdout.splitlines()}
    assert files == {str(path.relative_to(INFRA.parent)) for path in MANIFESTS.rglob("*.yaml")} - {
        "infra/kubernetes/base/dagster.yaml",
        "infra/kubernetes/base/workspace.yaml",
    }


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_objects_that_kustomize_prints_pass_the_validator(overlay: str) -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(MANIFESTS / "overlays" / overlay)], capture_output=True, text=True, check=True
    )

    _, findings = validate_stream(built.stdout)

    assert findings == []


#: By what is broken: the file, the text that is replaced, its replacement, and parts of the expected error.
BROKEN = {
    "an image without a fixed tag": (
        "base/webserver.yaml",
        "image: goldpath:0.1.0",
        "image: goldpath:latest",
        ("base/webserver.yaml: Deployment/webserver", "containers.webserver.image", "goldpath:latest"),
    ),
    "a container without a memory limit": (
        "base/redis.yaml",
        'limits: {cpu: "1", memory: 2Gi}',
        'limits: {cpu: "1"}',
        ("base/redis.yaml: StatefulSet/redis", "resources.limits.memory", "None", "a quantity"),
    ),
    "a pod that may be root": (
        "base/mlflow.yaml",
        "runAsNonRoot: true",
        "runAsNonRoot: false",
        ("base/mlflow.yaml: Deployment/mlflow", "securityContext.runAsNonRoot", "False", "Allowed: True"),
    ),
    "a writable root file system in a Ray worker": (
        "base/ray.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        ("base/ray.yaml: RayCluster/ray", "workerGroupSpecs.0.template.spec.containers.ray-worker", "readOnlyRoot"),
    ),
    "a service that is open to the outside": (
        "base/webserver.yaml",
        "type: ClusterIP",
        "type: LoadBalancer",
        ("base/webserver.yaml: Service/webserver", "spec.type", "LoadBalancer", "absent or ClusterIP"),
    ),
    "a folder of the node": (
        "base/mlflow.yaml",
        "{name: tmp, emptyDir: {}}",
        "{name: tmp, hostPath: {path: /tmp}}",
        ("base/mlflow.yaml: Deployment/mlflow", "volumes.0.hostPath", "/tmp", "PersistentVolumeClaim"),
    ),
    "a secret with a value": (
        "secret.example.yaml",
        'auth_token: ""',
        'auth_token: "c2VjcmV0"',
        ("secret.example.yaml: Secret/ray-token", "stringData.auth_token", "an empty string"),
    ),
    "a password in a variable": (
        "base/redis.yaml",
        "valueFrom: {secretKeyRef: {name: redis, key: password}}",
        "value: hunter2",
        ("base/redis.yaml: StatefulSet/redis", "env.REDISCLI_AUTH", "a literal value", "secretKeyRef"),
    ),
    "a number as text": (
        "base/webserver.yaml",
        "replicas: 2",
        'replicas: "2"',
        ("base/webserver.yaml: Deployment/webserver", "spec.replicas", "'2'", "integer"),
    ),
    "a field that KubeRay does not have": (
        "base/ray.yaml",
        "enableInTreeAutoscaling: true",
        "enableAutoscaling: true",
        ("base/ray.yaml: RayCluster/ray", "enableAutoscaling", "enableInTreeAutoscaling"),
    ),
    "a Ray cluster without authentication": (
        "base/ray.yaml",
        "authOptions: {mode: token",
        "authOptions: {mode: disabled",
        ("base/ray.yaml: RayCluster/ray", "spec.authOptions.mode", "disabled", "Allowed: token"),
    ),
    "a misspelt field in a pod of a Ray cluster": (
        "base/ray.yaml",
        "tolerations:",
        "toleration:",
        ("base/ray.yaml: RayCluster/ray", "workerGroupSpecs.1.template.spec", "'toleration' was unexpected"),
    ),
    "a key that the secret lacks": (
        "base/mlflow.yaml",
        "key: MLFLOW_PG_PASSWORD",
        "key: MLFLOW_PASSWORD",
        ("base/mlflow.yaml: Deployment/mlflow", "secretKeyRef.key", "MLFLOW_PASSWORD", "MLFLOW_PG_PASSWORD"),
    ),
    "a network policy for a pod that does not exist": (
        "base/network.yaml",
        "app.kubernetes.io/name: postgres}}\n  policyTypes",
        "app.kubernetes.io/name: postgresql}}\n  policyTypes",
        ("base/network.yaml: NetworkPolicy/postgres", "app.kubernetes.io/name=postgresql selects no pod"),
    ),
    "rights to everything": (
        "base/access.yaml",
        "resources: [pods], verbs: [get, list, watch, delete]",
        'resources: [pods], verbs: ["*"]',
        ("base/access.yaml: Role/run-launcher", "rules.2.verbs", "*", "a list of names"),
    ),
    "a token for a pod whose account has no rights": (
        "base/webserver.yaml",
        "automountServiceAccountToken: false",
        "automountServiceAccountToken: true",
        ("base/webserver.yaml: Deployment/webserver", "automountServiceAccountToken", "no RoleBinding"),
    ),
    "a file that is missing": (
        "base/kustomization.yaml",
        "- redis.yaml",
        "- valkey.yaml",
        (
            "base/kustomization.yaml: Kustomization",
            "valkey.yaml is missing",
            "redis.yaml is in the folder and is not listed",
        ),
    ),
    "a cost label that runs do not have": (
        "base/kustomization.yaml",
        "goldpath.io/cost-center: data-platform",
        "goldpath.io/cost-center: marketing",
        ("base/kustomization.yaml: Job/", "goldpath.io/cost-center", "data-platform", "Allowed: marketing"),
    ),
    "a run launcher's setting that does not exist": (
        "base/dagster.yaml",
        "service_account_name: worker",
        "service_acount_name: worker",
        ("base/kustomization.yaml: ConfigMap/dagster", "dagster.yaml", "service_acount_name"),
    ),
    "a setting of run monitoring that Dagster does not have": (
        "base/dagster.yaml",
        "start_timeout_seconds: 600",
        "start_timeout: 600",
        ("base/kustomization.yaml: ConfigMap/dagster", "dagster.yaml", "start_timeout"),
    ),
    "a run that may write to its root file system": (
        "base/dagster.yaml",
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        ("base/kustomization.yaml: Job/", "readOnlyRootFilesystem", "False", "Allowed: True"),
    ),
    "a code location at a port that no Service has": (
        "base/workspace.yaml",
        "port: 4000",
        "port: 4001",
        ("base/kustomization.yaml: ConfigMap/dagster", "workspace.yaml", "code-location:4001", "code-location:4000"),
    ),
    "an image of runs that is not the code location's": (
        "base/code-location.yaml",
        "value: goldpath:0.1.0",
        "value: goldpath:0.0.9",
        ("base/code-location.yaml: Deployment/code-location", "DAGSTER_CONTAINER_IMAGE", "goldpath:0.0.9"),
    ),
    "a key that is repeated": (
        "base/webserver.yaml",
        "  replicas: 2\n",
        "  replicas: 2\n  replicas: 3\n",
        ("base/webserver.yaml", "line 9", "a key is repeated"),
    ),
}


@pytest.mark.parametrize("breakage", BROKEN)
def test_the_error_of_a_broken_manifest_names_file_object_and_values(breakage: str, tmp_path: Path) -> None:
    file, correct, broken, expected = BROKEN[breakage]
    copy = tmp_path / "kubernetes"
    shutil.copytree(MANIFESTS, copy)
    text = (copy / file).read_text(encoding="utf-8")
    assert correct in text
    (copy / file).write_text(text.replace(correct, broken), encoding="utf-8")

    _, findings = validate_tree(copy)

    messages = "\n".join(map(str, findings))
    assert [part for part in expected if part not in messages] == [], messages


def test_every_goldpath_variable_is_a_setting_with_a_valid_value() -> None:
    files = [BASE / "settings.env", MANIFESTS / "overlays" / "production" / "settings.env"]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    values = dict(line.split("=", 1) for line in lines if line.startswith(PREFIX))
    secrets = [yaml.safe_load(part) for part in (MANIFESTS / "secret.example.yaml").read_text("utf-8").split("---")]
    names = {*values, *(key for secret in secrets for key in secret["stringData"] if key.startswith(PREFIX))}

    assert names <= {PREFIX + name.upper() for name in Settings.model_fields}
    settings = Settings.model_validate({name.removeprefix(PREFIX).lower(): value for name, value in values.items()})
    assert (settings.profile, settings.engine) == ("cluster", "spark")


def test_the_database_addresses_use_an_installed_driver() -> None:
    storage = yaml.safe_load((BASE / "dagster.yaml").read_text(encoding="utf-8"))["storage"]["postgres"]["postgres_db"]
    mlflow = next(yaml.safe_load_all((BASE / "mlflow.yaml").read_text(encoding="utf-8")))
    [address] = [
        variable["value"]
        for variable in mlflow["spec"]["template"]["spec"]["containers"][0]["env"]
        if variable["name"] == "MLFLOW_BACKEND_STORE_URI"
    ]

    for url in (f"{storage['scheme']}://user@host/db", address):
        assert sqlalchemy.create_engine(url).driver == "psycopg2"


def test_the_price_sheet_has_a_price_for_everything_that_runs_use() -> None:
    sheet = PriceSheet.load(INFRA / "prices.yaml")

    assert sheet.currency == "USD"
    assert all(price > 0 for price in (*sheet.unit_prices.values(), *sheet.gpu_hour.values()))
    assert {"default", "h200", "a100", "l4"} <= set(sheet.gpu_hour)

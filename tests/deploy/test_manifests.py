"""The Kubernetes base is valid, belongs together, and keeps what its README promises."""

from typing import Any

import kubernetes_validate
import pytest
from pydantic_settings import BaseSettings
from sluiceway.process.end_limit import AFTER_DRAIN_SECONDS
from sluiceway.process.settings import CommonSettings

from tests.deploy import manifests

pytestmark = pytest.mark.requirement("OP-4")

SETTINGS: dict[str, type[BaseSettings]] = {
    **{f"sluiceway-{service}": manifests.settings(service) for service in manifests.SERVICES},
    "sluiceway-migrate": CommonSettings,
}

EVERY_SERVICE = {f"sluiceway-{service}" for service in manifests.SERVICES}
MODEL_CALLERS = {"sluiceway-chat-worker", "sluiceway-tool-runner"}
# What is in a Secret, and who reads it.
SECRET = {
    "REDIS_URL": EVERY_SERVICE,
    "DATABASE_URL": {*EVERY_SERVICE, "sluiceway-migrate"},
    "DATABASE_DIRECT_URL": {*EVERY_SERVICE, "sluiceway-migrate"},
    "OPENAI_BASE_URL": MODEL_CALLERS,
    "OPENAI_API_KEY": MODEL_CALLERS,
    "WEBHOOK_SECRETS": {"sluiceway-gateway", "sluiceway-tool-runner"},
    "API_KEYS": {"sluiceway-gateway"},
    "JWT_SECRET": {"sluiceway-gateway"},
    "SESSION_SECRETS": {"sluiceway-gateway"},
    "OIDC_CLIENT_SECRET": {"sluiceway-gateway"},
    "HTTP_OPERATIONS": {"sluiceway-tool-runner"},
    "MCP_SERVERS": {"sluiceway-tool-runner"},
    "LANGFUSE_SECRET_KEY": {"sluiceway-chat-worker"},
}
OPTIONAL = {
    "DATABASE_DIRECT_URL",
    "WEBHOOK_SECRETS",
    "API_KEYS",
    "SESSION_SECRETS",
    "OIDC_CLIENT_SECRET",
    "HTTP_OPERATIONS",
    "MCP_SERVERS",
    "LANGFUSE_SECRET_KEY",
}


def names(settings: type[BaseSettings]) -> set[str]:
    return {field.upper() for field in settings.model_fields}


def validate(document: manifests.Document, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", manifests.KUBERNETES_VERSIONS)
def test_every_manifest_is_valid(version: str) -> None:
    for document in manifests.resources():
        validate(document, version)


@pytest.mark.parametrize("version", manifests.KUBERNETES_VERSIONS)
def test_what_kustomize_renders_is_valid_and_complete(version: str) -> None:
    rendered = manifests.rendered()
    for document in rendered:
        validate(document, version)
    written = {(r["kind"], r["metadata"]["name"].replace("VERSION", "dev")) for r in manifests.resources()}
    assert written <= {(r["kind"], r["metadata"]["name"]) for r in rendered}
    settings = {r["metadata"]["name"]: r["data"] for r in rendered if r["kind"] == "ConfigMap"}
    assert {name.rpartition("-")[0]: data for name, data in settings.items()} == manifests.config_maps()
    for deployment in (r for r in rendered if r["kind"] == "Deployment"):
        container = manifests.container(deployment["spec"]["template"]["spec"])
        named = [source["configMapRef"]["name"] for source in container["envFrom"]]
        # Those that all read, and its own; with a hash of what is in them, which rolls the pods.
        assert [name.rpartition("-")[0] for name in named] == ["sluiceway-settings", deployment["metadata"]["name"]]
        assert set(named) <= set(settings)
        assert container["image"].endswith(":dev")


def test_the_kustomization_names_every_file_and_no_other() -> None:
    files = {path.name for path in manifests.BASE.iterdir()} - {"kustomization.yaml"}
    assert set(manifests.kustomization()["resources"]) == files


def test_objects_name_no_namespace_so_that_an_overlay_can_choose_it() -> None:
    assert all("namespace" not in document["metadata"] for document in manifests.resources())


def test_images_are_those_that_the_dockerfiles_make() -> None:
    made = {f"sluiceway-{service}" for service in manifests.SERVICES}
    assert {manifests.container(pod)["image"] for pod in manifests.pods().values()} == made
    assert {image["name"] for image in manifests.kustomization()["images"]} == made


@pytest.mark.parametrize("workload", SETTINGS)
def test_every_variable_is_a_setting_of_its_service(workload: str) -> None:
    pod = manifests.pods()[workload]
    known = names(SETTINGS[workload])
    assert set(manifests.environment(pod)) <= known
    assert set(manifests.told(pod)) <= known


@pytest.mark.parametrize("workload", [name for name in SETTINGS if name != "sluiceway-migrate"])
def test_a_pod_gets_more_time_than_it_needs_to_drain(workload: str) -> None:
    pod = manifests.pods()[workload]
    drain = float(manifests.told(pod)["DRAIN_SECONDS"])
    assert drain >= SETTINGS[workload].model_fields["drain_seconds"].get_default()
    pre_stop = manifests.container(pod).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod["terminationGracePeriodSeconds"] >= pre_stop + drain + AFTER_DRAIN_SECONDS


def test_a_gateway_leaves_the_rotation_before_it_is_told_to_end() -> None:
    gateway = manifests.container(manifests.pods()["sluiceway-gateway"])
    assert gateway["lifecycle"]["preStop"]["sleep"]["seconds"] >= 5


def test_liveness_asks_the_process_alone_and_readiness_of_the_gateway_not_the_workers() -> None:
    for name, document in manifests.of_kind("Deployment").items():
        container = manifests.container(document["spec"]["template"]["spec"])
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        expected = "/readyz?scope=gateway" if name == "sluiceway-gateway" else "/readyz"
        assert container["readinessProbe"]["httpGet"]["path"] == expected
        ports = {port["name"] for port in container["ports"]}
        assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} <= ports


@pytest.mark.parametrize("workload", SETTINGS)
def test_pods_are_hardened(workload: str) -> None:
    pod = manifests.pods()[workload]
    context: dict[str, Any] = manifests.container(pod)["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    accounts = manifests.of_kind("ServiceAccount")
    assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False
    assert {"requests", "limits"} <= set(manifests.container(pod)["resources"])


def test_no_secret_is_in_the_repository_and_every_reader_has_only_its_own() -> None:
    assert manifests.of_kind("Secret") == {}
    readers: dict[str, set[str]] = {}
    for workload, pod in manifests.pods().items():
        for name, entry in manifests.environment(pod).items():
            if name in SECRET:
                assert "value" not in entry, f"{workload} has {name} in clear"
                assert "secretKeyRef" in entry["valueFrom"]
            readers.setdefault(name, set()).add(workload)
    assert {name: readers[name] for name in SECRET} == SECRET


def test_what_may_be_told_can_be_left_out_and_the_rest_is_asked_for_by_name() -> None:
    for pod in manifests.pods().values():
        for name, entry in manifests.environment(pod).items():
            if "valueFrom" in entry:
                assert entry["valueFrom"]["secretKeyRef"].get("optional", False) is (name in OPTIONAL)


def test_outside_services_beside_the_gateway_are_told_its_address() -> None:
    runner = manifests.told(manifests.pods()["sluiceway-tool-runner"])
    service = manifests.of_kind("Service")["sluiceway-gateway"]
    (port,) = service["spec"]["ports"]
    assert runner["PUBLIC_URL"] == f"http://{service['metadata']['name']}"
    assert port["port"] == 80


def test_every_deployment_keeps_replicas_through_an_eviction() -> None:
    budgets = manifests.of_kind("PodDisruptionBudget")
    for name, deployment in manifests.of_kind("Deployment").items():
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        assert budgets[name]["spec"]["selector"] == deployment["spec"]["selector"]
        (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert spread["topologyKey"] == "kubernetes.io/hostname"
        assert spread["labelSelector"] == deployment["spec"]["selector"]


def test_every_pod_has_the_labels_that_policies_monitors_and_selectors_go_by() -> None:
    for kind in ("Deployment", "Job"):
        for workload in manifests.of_kind(kind).values():
            labels = workload["spec"]["template"]["metadata"]["labels"]
            component = labels["app.kubernetes.io/component"]
            assert labels["app.kubernetes.io/name"] == f"sluiceway-{component}"
            assert workload["metadata"]["labels"] == labels


def test_a_new_gateway_is_there_before_an_old_one_goes() -> None:
    strategy = manifests.of_kind("Deployment")["sluiceway-gateway"]["spec"]["strategy"]
    assert strategy == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def test_the_service_finds_the_gateway() -> None:
    service = manifests.of_kind("Service")["sluiceway-gateway"]["spec"]
    template = manifests.of_kind("Deployment")["sluiceway-gateway"]["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    ports = {port["name"] for port in manifests.container(template["spec"])["ports"]}
    assert {port["targetPort"] for port in service["ports"]} <= ports


def test_the_route_lets_an_answer_stream_for_as_long_as_it_takes() -> None:
    (route,) = manifests.of_component("gateway-api")
    assert route["apiVersion"] == "gateway.networking.k8s.io/v1"
    (rule,) = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    service = manifests.of_kind("Service")["sluiceway-gateway"]
    ports = {port["port"] for port in service["spec"]["ports"]}
    assert all(ref["name"] == "sluiceway-gateway" and ref["port"] in ports for ref in rule["backendRefs"])


def test_each_version_has_a_migration_job_of_its_own_which_nothing_changes_or_takes_away() -> None:
    (job,) = manifests.of_kind("Job").values()
    assert job["metadata"]["name"] == "sluiceway-migrate-VERSION"
    pod = job["spec"]["template"]["spec"]
    assert manifests.container(pod)["command"] == ["python", "-m", "sluiceway.migrate"]
    # One that went by itself would come again with the next look of a GitOps controller, and a ConfigMap with a hash in
    # its name would change what cannot be changed.
    assert "ttlSecondsAfterFinished" not in job["spec"]
    # Before the services, which have no wave, and so 0.
    assert job["metadata"]["annotations"] == {"argocd.argoproj.io/sync-wave": "-1"}
    assert "envFrom" not in manifests.container(pod)
    # `kubectl apply` knows no order: no service takes work on an older schema than its own.
    assert {manifests.told(manifests.pods()[name])["MIGRATE_ON_START"] for name in EVERY_SERVICE} == {"true"}


def test_nobody_comes_in_without_a_token() -> None:
    gateway = manifests.pods()["sluiceway-gateway"]
    assert manifests.told(gateway)["AUTH_REQUIRED"] == "true"
    assert manifests.environment(gateway)["JWT_SECRET"]["valueFrom"]["secretKeyRef"].get("optional", False) is False


def test_a_version_whose_pods_die_young_stops_the_roll_out() -> None:
    assert all(one["spec"]["minReadySeconds"] >= 5 for one in manifests.of_kind("Deployment").values())


def test_a_pod_that_hangs_is_ended_after_its_work_was_taken_over_and_not_before() -> None:
    """A restart is for a process that is stuck, not for one that is slow for a moment."""
    for name, deployment in manifests.of_kind("Deployment").items():
        probe = manifests.container(deployment["spec"]["template"]["spec"])["livenessProbe"]
        fields = SETTINGS[name].model_fields
        if "lease_seconds" in fields:
            lease = float(fields["lease_seconds"].get_default())
            assert probe["periodSeconds"] * probe["failureThreshold"] > 2 * lease

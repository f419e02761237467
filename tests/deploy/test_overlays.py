"""What the overlays and components make of the base: valid, of one version, closed, and scaled by what is counted."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from sluiceway import keys
from sluiceway.wire.tools import DEFAULT_QUEUE
from tool_runner.tool.definition import LONG_QUEUE

from tests.deploy import manifests
from tests.deploy.extensions import EXTENSIONS, is_extension
from tests.deploy.network import End, may_reach

pytestmark = pytest.mark.requirement("OP-4")
README = (manifests.K8S / "README.md").read_text()
METRICS_PAGE = manifests.ROOT / "docs" / "metrics.md"
_VERSION = "app.kubernetes.io/version"
_COMPONENT = "app.kubernetes.io/component"
_PART_OF = {"app.kubernetes.io/part-of": "sluiceway"}


@cache
def rendered(overlay: str) -> list[manifests.Document]:
    return manifests.rendered(manifests.K8S / "overlays" / overlay)


def of(overlay: str, *kinds: str) -> list[manifests.Document]:
    return [document for document in rendered(overlay) if document["kind"] in kinds]


def ours(overlay: str) -> list[manifests.Document]:
    """Workloads of our images."""
    return [one for one in of(overlay, "Deployment", "Job") if one["metadata"]["labels"].items() >= _PART_OF.items()]


def image(workload: manifests.Document) -> str:
    return str(manifests.container(workload["spec"]["template"]["spec"])["image"])


def validate(document: manifests.Document, version: str) -> None:
    if is_extension(document):
        EXTENSIONS[document["kind"]].model_validate(document)
    else:
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", manifests.KUBERNETES_VERSIONS)
@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_every_overlay_renders_to_valid_objects(overlay: str, version: str) -> None:
    for document in rendered(overlay):
        validate(document, version)


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_nothing_is_said_that_an_api_server_drops_so_that_what_was_applied_does_not_differ(overlay: str) -> None:
    """Empty lists and nulls are not stored: `kubectl diff` and GitOps would see a change for ever."""
    for document in rendered(overlay):
        assert not list(_empty(document)), document["metadata"]["name"]


def _empty(node: object) -> Iterator[object]:
    if node is None or node == []:
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _empty(child)


@pytest.mark.parametrize("name", manifests.COMPONENTS)
def test_every_component_renders_with_the_base_to_valid_objects(name: str, tmp_path: Path) -> None:
    shutil.copytree(manifests.K8S, tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "one"
    overlay.mkdir()
    told = {"resources": ["../../base"], "components": [f"../../components/{name}"], "namespace": "elsewhere"}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(told))
    documents = manifests.rendered(overlay)
    for document in documents:
        validate(document, manifests.KUBERNETES_VERSIONS[-1])
    assert {document["metadata"]["namespace"] for document in documents} == {"elsewhere"}


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_an_overlay_is_of_one_version_and_its_migration_job_is_called_after_it(overlay: str) -> None:
    workloads = ours(overlay)
    images = {f"sluiceway-{service}" for service in manifests.SERVICES}
    assert {image(one).rpartition(":")[0].rpartition("/")[2] for one in workloads} == images
    (version,) = {one["metadata"]["labels"][_VERSION] for one in workloads}
    assert {image(one).rpartition(":")[2] for one in workloads} == {version}
    assert {one["spec"]["template"]["metadata"]["labels"][_VERSION] for one in workloads} == {version}
    assert [one["metadata"]["name"] for one in of(overlay, "Job")] == [f"sluiceway-migrate-{version}"]
    # To kubectl 1.32 a pattern of several kinds is none of a Deployment that a component has patched.
    written = yaml.safe_load((manifests.K8S / "overlays" / overlay / "kustomization.yaml").read_text())
    targets = [target for one in written["replacements"] for target in one["targets"]]
    assert {target["select"]["kind"] for target in targets} == {"Deployment", "Job"}


# What an API server takes of a changed object of that kind; all else of its spec is refused.
_CHANGEABLE = {
    "StatefulSet": {"replicas", "ordinals", "template", "updateStrategy", "minReadySeconds", "revisionHistoryLimit"},
    "Job": {"suspend", "parallelism", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"},
}
_SERVERS = ["../../components/postgres", "../../components/valkey", "../../components/model-in-cluster"]


def _fixed(documents: list[manifests.Document]) -> dict[tuple[str, str], object]:
    fixed: dict[tuple[str, str], object] = {}
    for one in documents:
        name = (one["kind"], one["metadata"]["name"])
        if one["kind"] == "Deployment":
            fixed[name] = one["spec"]["selector"]
        elif one["kind"] in _CHANGEABLE:
            fixed[name] = {key: value for key, value in one["spec"].items() if key not in _CHANGEABLE[one["kind"]]}
    return fixed


def _changed(overlay: str, tmp_path: Path, components: list[str], version: str = "") -> list[manifests.Document]:
    """The overlay with more components, and of another version."""
    shutil.copytree(manifests.K8S, tmp_path / "k8s", dirs_exist_ok=True)
    file = tmp_path / "k8s" / "overlays" / overlay / "kustomization.yaml"
    told = yaml.safe_load((manifests.K8S / "overlays" / overlay / "kustomization.yaml").read_text())
    told["components"] = [*told["components"], *(one for one in components if one not in told["components"])]
    if version:
        told["labels"][0]["pairs"][_VERSION] = version
        told["images"] = [{**one, "newTag": version} for one in told.get("images", [])]
    file.write_text(yaml.safe_dump(told))
    return manifests.rendered(file.parent)


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_a_second_version_is_a_second_job_and_changes_nothing_that_cannot_be_changed(
    overlay: str, tmp_path: Path
) -> None:
    before, after = (_changed(overlay, tmp_path, _SERVERS, version) for version in ("1.0.0", "1.1.0-rc.1"))
    jobs = [{one["metadata"]["name"] for one in every if one["kind"] == "Job"} for every in (before, after)]
    assert jobs == [{"sluiceway-migrate-1.0.0"}, {"sluiceway-migrate-1.1.0-rc.1"}]
    fixed, fixed_after = _fixed(before), _fixed(after)
    assert {name: fixed[name] for name in fixed if name[0] != "Job"} == {
        name: fixed_after[name] for name in fixed_after if name[0] != "Job"
    }
    # No new version of ours restarts a server that it stands on.
    pods = [[one["spec"]["template"] for one in every if one["kind"] == "StatefulSet"] for every in (before, after)]
    assert len(pods[0]) == len(_SERVERS)
    assert pods[0] == pods[1]
    assert not any(_VERSION in str(selector) for name, selector in fixed.items() if name[0] == "Deployment")


def test_access_is_opened_and_closed_by_a_change_of_the_gateway_alone(tmp_path: Path) -> None:
    """The page of trying it says to add that component to what runs: its Job is there, and cannot be changed."""
    closed, opened = rendered("dev"), _changed("dev", tmp_path, ["../../components/open-access"])
    changed = {(one["kind"], one["metadata"]["name"]) for one in opened if one not in closed}
    assert {name for kind, name in changed if kind != "ConfigMap"} == {"sluiceway-gateway"}
    (gateway,) = (
        one for one in opened if one["metadata"]["name"] == "sluiceway-gateway" and one["kind"] == "Deployment"
    )
    assert gateway["spec"]["template"]["metadata"]["annotations"] == {"sluiceway/access": "anybody"}


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_nobody_comes_in_without_a_token_unless_that_is_said_loudly(overlay: str) -> None:
    (settings,) = (one for one in of(overlay, "ConfigMap") if one["metadata"]["name"].startswith("sluiceway-gateway-"))
    assert settings["data"]["AUTH_REQUIRED"] == "true"
    loud = (manifests.K8S / "components" / "open-access" / "kustomization.yaml").read_text()
    assert "ANYBODY" in loud
    assert "AUTH_REQUIRED=false" in loud


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_replicas_belong_to_the_autoscaler_or_to_the_overlay_and_never_to_both(overlay: str) -> None:
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in of(overlay, "HorizontalPodAutoscaler", "ScaledObject")}
    for deployment in of(overlay, "Deployment"):
        assert ("replicas" in deployment["spec"]) is (deployment["metadata"]["name"] not in scaled)


def queries(overlay: str) -> Iterator[str]:
    """What the autoscalers of an overlay ask for."""
    for scaler in of(overlay, "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            kind = metric["type"].lower()
            yield "cpu" if kind == "resource" else metric[kind]["metric"]["name"]
    for scaler in of(overlay, "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            yield trigger["metadata"].get("query", "cpu")


@pytest.mark.parametrize("overlay", ["prod", "keda"])
def test_every_metric_that_something_is_scaled_by_is_one_that_the_services_tell(overlay: str) -> None:
    """The page of metrics is held against the running services, both ways."""
    asked = {name for query in queries(overlay) for name in re.findall(r"sluiceway_\w+", query)}
    assert {"sluiceway_streams_open", "sluiceway_worker_in_flight", "sluiceway_queue_oldest_waiting_seconds"} <= asked
    if not METRICS_PAGE.exists():
        pytest.skip("NOTHING says yet that these metrics exist: docs/metrics.md is not there")
    told = set(re.findall(r"`(sluiceway_\w+)", METRICS_PAGE.read_text()))
    assert asked <= told


# What Prometheus has of a namespace whose chat workers are at zero, while the first message waits.
_AT_ZERO = {
    'sluiceway_queue_waiting{namespace="sluiceway",queue="chat",pod="gateway-1"}': "1x10",
    'sluiceway_queue_oldest_waiting_seconds{namespace="sluiceway",queue="chat",pod="gateway-1"}': "1+60x10",
    'sluiceway_queue_waiting{namespace="sluiceway",queue="chat",pod="gateway-2"}': "1x10",
    'sluiceway_queue_oldest_waiting_seconds{namespace="sluiceway",queue="chat",pod="gateway-2"}': "0+60x10",
}
_PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(_PROMTOOL is None, reason="no promtool here to ask (Debian: prometheus)")
def test_at_zero_workers_each_query_answers_and_the_first_message_brings_one(tmp_path: Path) -> None:
    """KEDA takes no answer for 0, and starts where a value is above `activationThreshold`."""
    (scaler,) = (one for one in of("keda", "ScaledObject") if one["metadata"]["name"] == "sluiceway-chat-worker")
    asked = [trigger["metadata"] for trigger in scaler["spec"]["triggers"]]
    assert {float(one["activationThreshold"]) for one in asked} == {0.0}
    wants_one = [
        {
            "expr": f"count(({one['query']}) > {one['activationThreshold']})",
            "eval_time": "5m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for one in asked
    ]
    series = [{"series": name, "values": values} for name, values in _AT_ZERO.items()]
    file = tmp_path / "at-zero.yaml"
    told = {"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": wants_one}]}
    file.write_text(yaml.safe_dump(told))
    done = subprocess.run([str(_PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_settings_that_the_page_shows_reach_the_services_that_read_them(tmp_path: Path) -> None:
    shutil.copytree(manifests.K8S, tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "shown"
    overlay.mkdir()
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(configMapGenerator:.+?)```", README, re.DOTALL)]
    assert len(shown) >= 2
    for block in shown:
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["../../base"], **block}))
        documents = manifests.rendered(overlay)
        maps = {one["metadata"]["name"]: one["data"] for one in documents if one["kind"] == "ConfigMap"}
        names = {literal.partition("=")[0] for one in block["configMapGenerator"] for literal in one["literals"]}
        readers = 0
        for deployment in (one for one in documents if one["kind"] == "Deployment"):
            pod = deployment["spec"]["template"]["spec"]
            told = {name for one in manifests.container(pod)["envFrom"] for name in maps[one["configMapRef"]["name"]]}
            service = deployment["metadata"]["name"].removeprefix("sluiceway-")
            if names <= told:
                readers += 1
                assert {name.lower() for name in names} <= manifests.settings(service).model_fields.keys()
        assert readers == (len(manifests.SERVICES) if "QUEUE_PARTITIONS" in names else 1)


def test_both_autoscalers_take_pods_away_one_at_a_time_and_alike() -> None:
    """What a pod that goes cannot finish begins again elsewhere."""
    hpa = {one["metadata"]["name"]: one["spec"]["behavior"] for one in of("prod", "HorizontalPodAutoscaler")}
    keda = {
        one["metadata"]["name"]: one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        for one in of("keda", "ScaledObject")
    }
    assert hpa == keda
    for behavior in hpa.values():
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 300
        assert [(one["type"], one["value"]) for one in behavior["scaleDown"]["policies"]] == [("Pods", 1)]


def test_an_autoscaler_wants_more_before_all_slots_are_taken() -> None:
    for scaler in of("prod", "HorizontalPodAutoscaler"):
        service = scaler["metadata"]["name"].removeprefix("sluiceway-")
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods" and "in_flight" in metric["pods"]["metric"]["name"]:
                slots = manifests.settings(service).model_fields["worker_slots"].get_default()
                assert int(metric["pods"]["target"]["averageValue"]) < 0.8 * slots


def test_what_scales_tool_runners_asks_for_each_queue_that_they_have_slots_for() -> None:
    queues = {keys.tool_queue(name) for name in (DEFAULT_QUEUE, LONG_QUEUE)}
    (hpa,) = (
        one for one in of("prod", "HorizontalPodAutoscaler") if one["metadata"]["name"] == "sluiceway-tool-runner"
    )
    for metric in hpa["spec"]["metrics"]:
        (matched,) = metric[metric["type"].lower()]["metric"]["selector"]["matchExpressions"]
        assert (matched["key"], matched["operator"], set(matched["values"])) == ("queue", "In", queues)
    (keda,) = (one for one in of("keda", "ScaledObject") if one["metadata"]["name"] == "sluiceway-tool-runner")
    asked = [
        name for one in keda["spec"]["triggers"] for name in re.findall(r'queue=~"(.+?)"', one["metadata"]["query"])
    ]
    assert len(asked) >= 3
    assert all(re.fullmatch(pattern, queue) for pattern in asked for queue in queues)


def test_keda_asks_for_the_namespace_that_the_overlay_is_in() -> None:
    (namespace,) = {one["metadata"]["namespace"] for one in rendered("keda")}
    asked = [query for query in queries("keda") if query != "cpu"]
    assert asked
    assert all(set(re.findall(r'namespace="(\w+)"', query)) == {namespace} for query in asked)


def test_a_proxy_in_between_outlasts_the_silence_between_two_heartbeats() -> None:
    (ingress,) = manifests.of_component("ingress")
    notes = ingress["metadata"]["annotations"]
    heartbeat = manifests.settings("gateway").model_fields["heartbeat_seconds"].get_default()
    assert notes["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert int(notes["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > 3 * heartbeat
    # 0: no limit. A smaller one than that of files would refuse them in a page of nginx's own.
    assert notes["nginx.ingress.kubernetes.io/proxy-body-size"] == "0"


def test_a_private_authority_is_in_every_pod_where_the_urls_look_for_it(tmp_path: Path) -> None:
    shutil.copytree(manifests.K8S, tmp_path / "k8s")
    overlay = tmp_path / "k8s" / "overlays" / "dev"
    told = yaml.safe_load((overlay / "kustomization.yaml").read_text())
    told["components"].append("../../components/private-ca")
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(told))
    workloads = [one for one in manifests.rendered(overlay) if one["kind"] in ("Deployment", "Job")]
    assert len(workloads) == len(manifests.SERVICES) + 1
    for workload in workloads:
        pod = workload["spec"]["template"]["spec"]
        assert {"name": "ca", "configMap": {"name": "sluiceway-ca"}} in pod["volumes"]
        (mounted,) = (one for one in manifests.container(pod)["volumeMounts"] if one["name"] == "ca")
        assert mounted["mountPath"] == "/run/ca"


# The table of who may reach whom.

_OUTSIDE = End(address="203.0.113.7")
_METADATA = End(address="169.254.169.254")


def pod(component: str) -> End:
    return End(labels={_COMPONENT: component, **_PART_OF})


SOURCES = {
    "people, outside services": _OUTSIDE,
    "Prometheus (namespace `monitoring`)": End(namespace="monitoring"),
    "other pods": End(labels={"app": "another"}),
    "gateway": pod("gateway"),
    "chat worker": pod("chat-worker"),
    "tool runner": pod("tool-runner"),
    "completion consumer": pod("completion-consumer"),
    "migration": pod("migrate"),
}
TARGETS = {
    "gateway": (pod("gateway"), 8000),
    "health of a worker": (pod("chat-worker"), 8080),
    "Redis, Postgres": (End(address="10.1.2.3"), 6379),
    "443 anywhere": (_OUTSIDE, 443),
    "any port anywhere": (_OUTSIDE, 8080),
    "node's metadata": (_METADATA, 80),
}


def test_the_table_of_who_may_reach_whom_is_what_the_policies_say() -> None:
    policies = of("prod", "NetworkPolicy")
    rows = [f"| from ↓ to → | {' | '.join(TARGETS)} |", f"|{'---|' * (len(TARGETS) + 1)}"]
    for name, source in SOURCES.items():
        cells = [_cell(policies, source, *target) for target in TARGETS.values()]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    assert "\n".join(rows) in README, "\n" + "\n".join(rows)


def _cell(policies: list[manifests.Document], source: End, target: End, port: int) -> str:
    """Of what neither end is ours nothing is said."""
    if not {**source.labels, **target.labels}.items() >= _PART_OF.items():
        return ""
    return "yes" if may_reach(policies, source, target, port) else "no"


def test_the_servers_of_components_are_reached_by_our_pods_alone() -> None:
    own = [one for name in ("pooler", "model-in-cluster") for one in manifests.of_component(name)]
    policies = [*of("prod", "NetworkPolicy"), *of("dev", "NetworkPolicy")]
    policies += [one for one in own if one["kind"] == "NetworkPolicy"]
    model = End(labels={"app.kubernetes.io/name": "model", _COMPONENT: "model"})
    assert may_reach(policies, pod("chat-worker"), model, 8080)
    assert not may_reach(policies, pod("gateway"), model, 8080)
    assert not may_reach(policies, SOURCES["other pods"], model, 8080)
    for name, port in (("valkey", 6379), ("postgres", 5432), ("pooler", 5432)):
        server = End(labels={"app.kubernetes.io/name": name, _COMPONENT: name})
        assert may_reach(policies, pod("completion-consumer"), server, port)
        assert not may_reach(policies, SOURCES["other pods"], server, port)


def test_the_valkey_of_components_is_one_that_the_services_take() -> None:
    (valkey,) = [one for one in manifests.of_component("valkey") if one["kind"] == "StatefulSet"]
    arguments = manifests.container(valkey["spec"]["template"]["spec"])["args"]
    assert dict(pairwise(arguments))["--maxmemory-policy"] == "noeviction"


@pytest.mark.parametrize("overlay", ["prod", "keda"])
def test_prometheus_finds_every_pod_of_ours_at_the_port_that_tells_metrics(overlay: str) -> None:
    (monitor,) = of(overlay, "PodMonitor")
    assert all(one["path"] == "/metrics" for one in monitor["spec"]["podMetricsEndpoints"])
    asked = {one["port"] for one in monitor["spec"]["podMetricsEndpoints"]}
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    for workload in of(overlay, "Deployment"):
        template = workload["spec"]["template"]
        assert wanted <= template["metadata"]["labels"].items()
        assert asked & {port["name"] for port in manifests.container(template["spec"])["ports"]}

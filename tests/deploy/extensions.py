"""The shapes of the objects that are no part of Kubernetes itself, as far as ours use them, after their references.

Sources: gateway-api.sigs.k8s.io (HTTPRoute v1), keda.sh (ScaledObject v1alpha1, scalers cpu and prometheus),
prometheus-operator.dev (PodMonitor v1). A field that is not here is a slip, or one to be added after a look there.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Metadata(_Strict):
    name: str
    namespace: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Parent(_Strict):
    name: str
    namespace: str | None = None
    section_name: str | None = None


class _Path(_Strict):
    type: Literal["Exact", "PathPrefix"]
    value: str


class _Match(_Strict):
    path: _Path


class _Timeouts(_Strict):
    request: str
    backend_request: str


class _Backend(_Strict):
    name: str
    port: int


class _Rule(_Strict):
    matches: list[_Match]
    timeouts: _Timeouts
    backend_refs: list[_Backend]


class _RouteSpec(_Strict):
    parent_refs: list[_Parent]
    hostnames: list[str] = []
    rules: list[_Rule]


class HTTPRoute(_Strict):
    api_version: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["HTTPRoute"]
    metadata: _Metadata
    spec: _RouteSpec


class _ScaleTarget(_Strict):
    name: str


class _Cpu(_Strict):
    type: Literal["cpu"]
    metric_type: Literal["Utilization", "AverageValue"]
    metadata: dict[Literal["value"], str]


class _PrometheusQuery(_Strict):
    """All values are texts: KEDA refuses numbers."""

    server_address: str
    query: str
    threshold: str
    activation_threshold: str = "0"


class _Prometheus(_Strict):
    type: Literal["prometheus"]
    metric_type: Literal["AverageValue", "Value"]
    metadata: _PrometheusQuery


class _Policy(_Strict):
    type: Literal["Pods", "Percent"]
    value: int = Field(gt=0)
    period_seconds: int = Field(gt=0, le=1800)


class _Pace(_Strict):
    stabilization_window_seconds: int = Field(ge=0, le=3600)
    policies: list[_Policy]


class _Behavior(_Strict):
    scale_up: _Pace
    scale_down: _Pace


class _Autoscaler(_Strict):
    behavior: _Behavior


class _Advanced(_Strict):
    horizontal_pod_autoscaler_config: _Autoscaler


class _ScaledSpec(_Strict):
    scale_target_ref: _ScaleTarget
    polling_interval: int = 30
    cooldown_period: int = 300
    min_replica_count: int = Field(ge=0)
    max_replica_count: int = Field(ge=1)
    triggers: list[_Cpu | _Prometheus]
    advanced: _Advanced | None = None


class ScaledObject(_Strict):
    api_version: Literal["keda.sh/v1alpha1"]
    kind: Literal["ScaledObject"]
    metadata: _Metadata
    spec: _ScaledSpec


class _Selector(_Strict):
    match_labels: dict[str, str]


class _Endpoint(_Strict):
    port: str
    path: str
    interval: str


class _MonitorSpec(_Strict):
    selector: _Selector
    pod_metrics_endpoints: list[_Endpoint]


class PodMonitor(_Strict):
    api_version: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: _Metadata
    spec: _MonitorSpec


EXTENSIONS: dict[str, type[BaseModel]] = {kind.__name__: kind for kind in (HTTPRoute, ScaledObject, PodMonitor)}


def is_extension(document: dict[str, Any]) -> bool:
    return document["kind"] in EXTENSIONS

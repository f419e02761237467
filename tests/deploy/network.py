"""Who may reach whom, by NetworkPolicies as Kubernetes reads them: allowed is what any that selects a pod allows.

It knows what our policies use: pod and namespace selectors, IP blocks, TCP ports. Selectors of pods mean the policies'
own namespace.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class End:
    """A pod by its labels, of our namespace or another; or an address outside of the cluster."""

    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    address: str | None = None


def may_reach(policies: Iterable[Policy], source: End, target: End, port: int) -> bool:
    known = list(policies)
    return _allowed(known, "Egress", source, target, port) and _allowed(known, "Ingress", target, source, port)


def _allowed(policies: list[Policy], direction: str, here: End, there: End, port: int) -> bool:
    """Whether the policies of the pod `here` let it through; who has none lets everything through."""
    if here.address is not None or here.namespace:
        return True
    own = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], here.labels)
    ]
    rules = [rule for spec in own for rule in spec.get(direction.lower(), [])]
    peers = "to" if direction == "Egress" else "from"
    return not own or any(_passes(rule.get(peers), rule.get("ports"), there, port) for rule in rules)


def _passes(peers: Any, ports: Any, there: End, port: int) -> bool:
    port_is_right = ports is None or any(one["port"] == port and one["protocol"] == "TCP" for one in ports)
    return port_is_right and (peers is None or any(_is_peer(peer, there) for peer in peers))


def _is_peer(peer: Mapping[str, Any], there: End) -> bool:
    if "ipBlock" in peer:
        return there.address is not None and _in_block(peer["ipBlock"], there.address)
    if "namespaceSelector" in peer:
        named = {"kubernetes.io/metadata.name": there.namespace}
        return bool(there.namespace) and _selects(peer["namespaceSelector"], named)
    return there.address is None and not there.namespace and _selects(peer["podSelector"], there.labels)


def _in_block(block: Mapping[str, Any], text: str) -> bool:
    address = ip_address(text)
    inside = address in ip_network(block["cidr"])
    return inside and not any(address in ip_network(one) for one in block.get("except", []))


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions)
    wanted = selector.get("matchLabels", {}).items()
    return wanted <= dict(labels).items() and all(labels.get(one["key"]) in one["values"] for one in expressions)

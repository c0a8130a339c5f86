"""What a workspace may ask of a pod is what the API server takes: the same verdict of both, for each of these (F3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.apiserver.cluster import RealCluster, Refused
from tests.factories import workspace
from workspace_managers import Resources

GPU, PAGES, OWN = "example.com/gpu", "hugepages-2Mi", "pods.kubernetes.io/slots"
DIGITS = "1" * 30
# Requests, limits.
RESOURCES: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "nothing": ({}, {}),
    **{
        f"{resource} {quantity!r}": ({}, {resource: quantity})
        for resource in ("memory", "cpu", GPU)
        for quantity in (
            *("0", "1", "500m", "1.5", "1.", ".5", "1e3", "1E3", "1e-3", "1Ki", "1k", "1n", "1u", "1.5e3", "00"),
            *("", "-1", "1K", "1ki", "1GB", "10GiB", "1_000", "0x10", "inf", "NaN", "1e2Ki", "1 Gi"),
        )
    },
    "request below its limit": ({"cpu": "1"}, {"cpu": "2"}),
    "request of the same amount": ({"cpu": "2000m"}, {"cpu": "2"}),
    "request above its limit": ({"memory": "2Gi"}, {"memory": "2G"}),
    "request alone": ({"memory": "1Gi"}, {}),
    "disk": ({"ephemeral-storage": "1Gi"}, {"ephemeral-storage": "2Gi"}),
    "disk above its limit": ({"ephemeral-storage": "2Gi"}, {"ephemeral-storage": "1Gi"}),
    "device requested alone": ({GPU: "1"}, {}),
    "no device requested alone": ({GPU: "0"}, {}),
    "device and its limit": ({GPU: "1"}, {GPU: "1"}),
    "device and its limit in other words": ({GPU: "1000m"}, {GPU: "1"}),
    "device below its limit": ({GPU: "1"}, {GPU: "2"}),
    "device above its limit": ({GPU: "2"}, {GPU: "1"}),
    "no device at all": ({GPU: "0"}, {GPU: "0"}),
    "devices of 30 digits": ({}, {GPU: DIGITS}),
    "an exbi of devices": ({}, {GPU: "1Ei"}),
    "huge pages beside cpu": ({}, {PAGES: "4Mi", "cpu": "1"}),
    "huge pages beside a request of memory": ({"memory": "1Gi"}, {PAGES: "2Mi"}),
    "huge pages alone": ({}, {PAGES: "2Mi"}),
    "no huge pages alone": ({}, {PAGES: "0"}),
    "huge pages beside disk": ({}, {PAGES: "2Mi", "ephemeral-storage": "1Gi"}),
    "no huge pages": ({}, {PAGES: "0", "cpu": "1"}),
    "a page and a half": ({}, {PAGES: "3Mi", "cpu": "1"}),
    "huge pages in thousandths": ({}, {PAGES: "2097152000m", "cpu": "1"}),
    "huge pages requested alone": ({PAGES: "2Mi", "cpu": "1"}, {}),
    "huge pages below their limit": ({PAGES: "2Mi", "cpu": "1"}, {PAGES: "4Mi"}),
    "huge pages of the limit": ({PAGES: "2Mi"}, {PAGES: "2Mi", "cpu": "1"}),
    "pages without a size": ({}, {"hugepages-": "2Mi", "cpu": "1"}),
    "pages of no size": ({}, {"hugepages-x": "2Mi", "cpu": "1"}),
    "pages of size zero": ({}, {"hugepages-0": "2Mi", "cpu": "1"}),
    "pages of a byte and a half": ({}, {"hugepages-1500m": "3", "cpu": "1"}),
    "pages of another size": ({}, {"hugepages-1Gi": "1Gi", "memory": "1Gi"}),
    "Kubernetes' own": ({OWN: "500m"}, {}),
    "Kubernetes' own below its limit": ({OWN: "1"}, {OWN: "2"}),
    **{
        f"resource {name[:30]!r} of {len(name)}": ({}, {name: "1", "cpu": "1"})
        for name in (
            *("gpu", "storage", "pods", "requests.cpu", "requests.example.com/gpu", "requests.kubernetes.io/x", ""),
            *("/gpu", "example.com/", "example.com/a/b", "Example.com/gpu", "example.com/GPU_1", "example.com/-a"),
            *("attachable-volumes-aws-ebs", "example.com/hugepages-2Mi", "hugepages-2Mi/x", "kubernetes.io/x"),
            *(f"{'a' * 244}/gpu", f"{'a' * 245}/gpu", f"example.com/{'g' * 63}", f"example.com/{'g' * 64}"),
        )
    },
}
# What the server takes and we do not, because no pod could ever run with it, or because only a mistake looks like it.
STRICTER: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "memory of 30 digits": ({}, {"memory": DIGITS}),
    "request of 30 digits": ({"memory": DIGITS}, {}),
    "an exponent of three digits": ({}, {"cpu": "1e100"}),
    "more devices than a node can have": ({}, {GPU: "1E"}),
    "more devices than can be counted": ({}, {GPU: "1e99"}),
    "a sign": ({}, {"cpu": "+1"}),
    "a blank before": ({}, {"cpu": " 1"}),
    "a blank after": ({}, {"cpu": "1 "}),
}
LONG = "a" * 64
# A field of the workspace, its value, and where a pod has it.
FIELDS: dict[str, tuple[str, Any, str]] = {
    **{
        f"{field} {key[:30]!r}: {value[:10]!r}": (field, {key: value}, place)
        for field, place in (("labels", "metadata.labels"), ("node_selector", "spec.nodeSelector"))
        for key, value in (
            *(("a", ""), ("a", "b"), ("a.b/C_d", "E-f.g"), (LONG[:63], LONG[:63]), (f"{'a' * 253}/b", "")),
            *(("", "a"), ("/a", "b"), ("a/", "b"), ("a b", "c"), (LONG, "a"), ("a", LONG), ("a", "-b"), ("A.b/c", "d")),
            *(("é", "a"), ("a", "é"), ("a/b/c", "d"), ("_a", "b"), ("a", "<b>"), (f"{'a' * 254}/b", "")),
        )
    },
    **{
        f"annotation {key[:30]!r} of {len(value)}": ("annotations", {key: value}, "metadata.annotations")
        for key, value in (
            *(("a", "any <text> é\n"), ("Example.com/A", ""), (LONG[:63], ""), (LONG, ""), ("a b", ""), ("", "")),
            *(("a", "x" * 240_000), ("a", "x" * (256 * 1024))),
        )
    },
    **{
        f"toleration {value}": ("tolerations", [value], "spec.tolerations")
        for value in (
            *({}, {"operator": "Exists"}, {"key": "a"}, {"key": "a", "operator": "Equal", "value": "b"}),
            *({"key": "a", "operator": "Exists", "value": "b"}, {"key": "a b"}, {"key": "a", "value": "b c"}),
            *({"operator": "Equal"}, {"value": "a"}, {"key": "a", "operator": "Gt"}, {"key": "a", "operator": ""}),
            *({"key": "a", "effect": ""}, {"key": "a", "effect": "Never"}, {"key": "a", "effect": "NoSchedule"}),
            *({"key": "a", "effect": "NoExecute", "tolerationSeconds": 0}, {"key": "a", "tolerationSeconds": 1}),
            *({"key": "a", "effect": "NoExecute", "tolerationSeconds": -1}, {"key": LONG}, {"key": "a.b/c"}),
        )
    },
    **{
        f"service account {value[:30]!r} of {len(value)}": ("service_account", value, "spec.serviceAccountName")
        for value in ("a", "a.b-c", "A", "a_b", "-a", "a" * 253, "a" * 254)
    },
}


async def taken(cluster: RealCluster, **spec: Any) -> bool:
    """Whether the server takes a pod; none is made."""
    pod: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    for place, value in spec.items():
        if place == "resources":
            pod["spec"]["containers"][0]["resources"] = value
        else:
            part, _, field = place.partition(".")
            pod[part][field] = value
    try:
        await cluster.call("POST", f"/api/v1/namespaces/{cluster.namespace}/pods?dryRun=All", pod)
    except Refused as refused:
        # Admission asks for the account after the pod was found to be right.
        return "serviceaccount" in str(refused) and "not found" in str(refused)
    return True


@pytest.mark.parametrize(("requests", "limits"), RESOURCES.values(), ids=RESOURCES)
async def test_resources_are_right_where_the_server_takes_them(
    own_cluster: RealCluster, requests: Mapping[str, str], limits: Mapping[str, str]
) -> None:
    """F3: what it would refuse is not offered, and what it takes is."""
    problem = Resources(requests=requests, limits=limits).problem()
    assert (problem is None) == await taken(own_cluster, resources={"requests": requests, "limits": limits}), problem


@pytest.mark.parametrize(("requests", "limits"), STRICTER.values(), ids=STRICTER)
async def test_resources_that_could_never_run_are_refused_before(
    own_cluster: RealCluster, requests: Mapping[str, str], limits: Mapping[str, str]
) -> None:
    """F3: the server takes them, or there would be no need for this table."""
    assert Resources(requests=requests, limits=limits).problem()
    assert await taken(own_cluster, resources={"requests": requests, "limits": limits})


@pytest.mark.parametrize(("field", "value", "place"), FIELDS.values(), ids=FIELDS)
async def test_field_is_right_where_the_server_takes_it(
    own_cluster: RealCluster, field: str, value: Any, place: str
) -> None:
    """F3: as for resources."""
    problem = workspace(**{field: value}).problem()
    assert (problem is None) == await taken(own_cluster, **{place: value}), problem

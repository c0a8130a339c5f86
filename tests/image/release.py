"""A release of the Helm chart, called `jupyterhub`, as objects of Kubernetes: what its hub and its proxy run as.

Pure functions from the chart's values to what its templates make of them; names, mounts, variables, probes and security
contexts are the chart's. Both that run the hub's pod go by this: a cluster, and `hub` without one. The other parts of a
release (image puller, network policies, disruption budgets, the culler) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.image.store import ROOT
from tests.stacks import current

CHART = Path(__file__).with_name("chart")
VALUES = ROOT / "image" / "values.yaml"
PROXY_IMAGE = "localhost/configurable-http-proxy:1"
"""The chart's own is named by values that nobody sets."""
ACCOUNT = "hub"
_ETC = "/usr/local/etc/jupyterhub"
_HUB_PORT, _PROXY_API_PORT, _PROXY_PORT = 8081, 8001, 8000
_PROXY_TOKEN = "hub.config.ConfigurableHTTPProxy.auth_token"
_DATABASE = "hub-db-dir"

Object = dict[str, Any]
Values = dict[str, Any]


def merged(values: Values, over: Mapping[str, Any]) -> Values:
    """As Helm merges values: mappings one into the other, all else replaced, and null takes a value away."""
    result = dict(values)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        else:
            both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if both else value
    return result


def chart_values(over: Mapping[str, Any]) -> Values:
    """The chart's own values, then image/values.yaml, then some that an operator adds."""
    values: Values = yaml.safe_load((CHART / "values.yaml").read_text().replace("RELEASE", str(current().chart)))
    return merged(merged(values, yaml.safe_load(VALUES.read_text())), over)


def hub_image(values: Values) -> str:
    """The name under which a node must have the hub's image."""
    return "{name}:{tag}".format_map(values["hub"]["image"])


def tools_image(values: Values) -> str:
    """The name of the image that prepares each server."""
    return str(values["singleuser"]["networkTools"]["image"]["name"])


def objects(values: Values, proxy_token: str) -> list[Object]:
    """Everything, in an order to make it in: a pod is told only of the services that were there before it."""
    return [
        hub_secret(values, proxy_token),
        hub_config(),
        _claim(),
        _service("hub", "hub", _HUB_PORT, "http"),
        _service("proxy-api", "proxy", _PROXY_API_PORT, "api"),
        _service("proxy-public", "proxy", 80, "http"),
        _deployment("proxy", proxy_pod()),
        _deployment("hub", hub_pod(values)),
    ]


def hub_secret(values: Values, proxy_token: str) -> Object:
    """The values as the hub's config reads them, and what the hub shows to the proxy."""
    data = {"values.yaml": yaml.safe_dump(values), _PROXY_TOKEN: proxy_token}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata("hub", "hub"), "stringData": data}


def hub_config() -> Object:
    """The hub's config, and what that imports."""
    data = {file.name: file.read_text() for file in sorted(CHART.glob("*.py"))}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata("hub", "hub"), "data": data}


def hub_pod(values: Values) -> Object:
    """The template of the hub's pod, of one container."""
    hub = values["hub"]
    volumes: list[Object] = [
        {"name": "config", "configMap": {"name": "hub"}},
        {"name": "secret", "secret": {"secretName": "hub"}},
        {"name": "pvc", "persistentVolumeClaim": {"claimName": _DATABASE}},
        *hub["extraVolumes"],
    ]
    mounts = [
        *(
            {"name": "config", "mountPath": f"{_ETC}/{name}", "subPath": name}
            for name in ("jupyterhub_config.py", "z2jh.py")
        ),
        {"name": "config", "mountPath": f"{_ETC}/config/"},
        {"name": "secret", "mountPath": f"{_ETC}/secret/"},
        {"name": "pvc", "mountPath": "/srv/jupyterhub"},
        *hub["extraVolumeMounts"],
    ]
    container = {
        "name": "hub",
        "image": hub_image(values),
        "args": ["jupyterhub", "--config", f"{_ETC}/jupyterhub_config.py", "--upgrade-db"],
        "env": [
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": "HELM_RELEASE_NAME", "value": "jupyterhub"},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            _PROXY_TOKEN_VARIABLE,
            *({"name": name, "value": value} for name, value in hub["extraEnv"].items()),
        ],
        "volumeMounts": mounts,
        "securityContext": hub["containerSecurityContext"],
        "ports": [{"name": "http", "containerPort": _HUB_PORT}],
        **{
            f"{probe}Probe": {**hub[f"{probe}Probe"], "httpGet": {"path": "/hub/health", "port": "http"}}
            for probe in ("liveness", "readiness")
        },
    }
    spec = {
        "serviceAccountName": ACCOUNT,
        "securityContext": hub["podSecurityContext"],
        "containers": [container],
        "volumes": volumes,
    }
    return _pod("hub", spec, reaches=("proxy-api", "proxy-http", "singleuser"))


def proxy_pod() -> Object:
    """The template of the proxy's pod."""
    hub = "http://hub:$(HUB_SERVICE_PORT)"
    probe = {"httpGet": {"path": "/_chp_healthz", "port": "http"}, "periodSeconds": 2}
    container = {
        "name": "chp",
        "image": PROXY_IMAGE,
        "command": [
            *("configurable-http-proxy", "--ip=", "--api-ip=", f"--api-port={_PROXY_API_PORT}"),
            *(f"--default-target={hub}", f"--error-target={hub}/hub/error", f"--port={_PROXY_PORT}"),
        ],
        "env": [_PROXY_TOKEN_VARIABLE],
        "ports": [{"name": "http", "containerPort": _PROXY_PORT}, {"name": "api", "containerPort": _PROXY_API_PORT}],
        "readinessProbe": {**probe, "failureThreshold": 1000},
        "livenessProbe": {**probe, "initialDelaySeconds": 60, "failureThreshold": 30},
        "securityContext": {
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 60}
    return _pod("proxy", spec, reaches=("hub", "singleuser"))


_PROXY_TOKEN_VARIABLE = {
    "name": "CONFIGPROXY_AUTH_TOKEN",
    "valueFrom": {"secretKeyRef": {"name": "hub", "key": _PROXY_TOKEN}},
}


def _claim() -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = _metadata(_DATABASE, "hub")
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _service(name: str, component: str, port: int, target: str) -> Object:
    spec = {"selector": _labels(component), "ports": [{"port": port, "targetPort": target}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(name, component), "spec": spec}


def _deployment(component: str, pod: Object) -> Object:
    # Both have a state that two of them would fight for.
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": _labels(component)},
        "template": pod,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(component, component),
        "spec": spec,
    }


def _metadata(name: str, component: str) -> Object:
    return {
        "name": name,
        "labels": {**_labels(component), "heritage": "Helm", "chart": f"jupyterhub-{current().chart}"},
    }


def _labels(component: str) -> dict[str, str]:
    return {"app": "jupyterhub", "release": "jupyterhub", "component": component}


def _pod(component: str, spec: Object, *, reaches: Sequence[str]) -> Object:
    rule = {"key": "hub.jupyter.org/node-purpose", "operator": "In", "values": ["core"]}
    wish = {"weight": 100, "preference": {"matchExpressions": [rule]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}
    labels = {f"hub.jupyter.org/network-access-{what}": "true" for what in reaches}
    return {"metadata": {"labels": {**_labels(component), **labels}}, "spec": {**spec, "affinity": affinity}}

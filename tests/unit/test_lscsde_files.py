"""What an operator applies for the lscsde plugin: definitions, examples of every field, the hub's rights."""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from workspace_manager_lscsde import LscsdeWorkspaceManager
from workspace_manager_lscsde.resources import read_binding
from workspace_managers import Context, Settings
from workspace_managers.devcluster.kinds import CRD_FILE
from workspace_managers.kube.client import Kube

IMAGE = Path(__file__).parents[2] / "image"
EXAMPLES = list(yaml.safe_load_all((IMAGE / "lscsde" / "examples.yaml").read_text()))


def documents(file: Path) -> list[Any]:
    return list(yaml.safe_load_all(file.read_text()))


def paths(schema: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """Each field of a definition's schema that has no fields of its own."""
    if schema.get("type") == "array":
        yield from paths(schema["items"], f"{at}[]")
    elif properties := schema.get("properties"):
        for name, each in properties.items():
            yield from paths(each, f"{at}.{name}")
    else:
        yield at


def has(thing: Any, path: str) -> bool:
    """Whether an object has a field."""
    for part in path.removeprefix(".").split("."):
        name = part.removesuffix("[]")
        if not isinstance(thing, Mapping) or name not in thing:
            return False
        thing = thing[name][0] if part.endswith("[]") else thing[name]
    return True


def test_definitions_are_those_that_are_tested() -> None:
    assert documents(IMAGE / "lscsde" / "definitions.yaml") == documents(CRD_FILE)


@pytest.mark.parametrize("kind", ["AnalyticsWorkspace", "AnalyticsWorkspaceBinding"])
def test_examples_have_every_field_of_the_spec(kind: str) -> None:
    (definition,) = (each for each in documents(CRD_FILE) if each["spec"]["names"]["kind"] == kind)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    specs = [each["spec"] for each in EXAMPLES if each["kind"] == kind]
    missing = [path for path in paths(schema) if not any(has(spec, path) for spec in specs)]
    assert missing == []


def test_examples_have_every_operator() -> None:
    found = {
        rule.operator.value for each in EXAMPLES if each["spec"].get("claims") for rule in read_binding(each).rules
    }
    assert found == {"EQUALS", "NOT EQUALS", "IN", "NOT IN"}


async def test_examples_are_taken_and_right(kube: Kube) -> None:
    """By the API server's schema, and by the plugin: what is copied from here works."""
    for each in EXAMPLES:
        plural = f"{each['kind'].lower()}s"
        await kube.create(f"/apis/xlscsde.nhs.uk/v1/namespaces/hub/{plural}", each)
    manager = LscsdeWorkspaceManager(
        Context(settings=Settings.from_environ({"POD_NAMESPACE": "hub"}), kube=kube, log=logging.getLogger("test"))
    )
    assert [each for each in await manager.problems() if "account" not in each] == []
    assert [each.name for each in await manager.all_workspaces()] == ["example-heart"]


def test_account_of_the_hub_is_named_in_one_place(tmp_path: Path) -> None:
    """With `fullnameOverride` it is another, and nothing starts where one place was forgotten."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl here")
    folder = tmp_path / "image"
    folder.mkdir()
    for name in ("kustomization.yaml", "rbac.yaml"):
        (folder / name).write_text((IMAGE / name).read_text().replace("value: hub\n", "value: portal-hub\n"))
    built = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True).stdout
    found = {each["kind"]: each for each in yaml.safe_load_all(built)}
    rights = {each["kind"]: each for each in documents(IMAGE / "rbac.yaml")}
    assert found["Role"]["rules"] == rights["Role"]["rules"]
    assert found["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "portal-hub"}]

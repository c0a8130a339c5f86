"""What ``configure`` sets, what a configuration may set beside it, and the form on a page (L1 to L3, A4, F1, F2)."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubespawner import KubeSpawner
from traitlets.config import Config

from tests.factories import TODAY, workspace
from tests.unit.spawners import Plugin, configure_with, make_spawner
from workspace_managers import AccessDenied, BackendUnavailable, ConfigurationError, engine, hub
from workspace_managers.forms import Form, build_form
from workspace_managers.hub import precedence, templates_folder
from workspace_managers.hub.spawner import WorkspaceSpawner
from workspace_managers.hub.templating import Templating
from workspace_managers.settings import Settings


class Operators(KubeSpawner):  # type: ignore[misc]  # KubeSpawner has no types
    """A subclass that an operator has configured before ours."""


def service_of(c: Config) -> Any:
    return c.JupyterHub.spawner_class.workspace_service


def test_settings_of_the_chart_stay_and_ours_are_there(plugin: Plugin) -> None:
    """L3: the environment reaches the spawner; ours stands in front of the class that is configured."""
    c = Config()
    c.JupyterHub.template_paths = ["/operators/own"]
    c.JupyterHub.spawner_class = f"{__name__}.Operators"
    c.KubeSpawner.image_pull_policy = "Always"
    configure_with(c, KS_START_TIMEOUT="123")
    assert c.KubeSpawner.start_timeout == 123
    assert c.KubeSpawner.namespace == "hub"
    assert c.KubeSpawner.image_pull_policy == "Always"
    assert [each.__name__ for each in c.JupyterHub.spawner_class.__mro__[:4]] == [
        *("WorkspaceSpawner", "WorkspaceSpawner", "Operators", "KubeSpawner"),
    ]
    assert c.JupyterHub.template_paths == ["/operators/own", str(hub.templates_folder())]


def test_options_of_the_templates_stay_and_ours_are_there(plugin: Plugin) -> None:
    """However they are set: whole, or a part of them."""
    whole, part = Config(), Config()
    whole.JupyterHub.jinja_environment_options = {"trim_blocks": True, "extensions": ["jinja2.ext.do"]}
    part.JupyterHub.jinja_environment_options.update({"trim_blocks": True, "extensions": ["jinja2.ext.do"]})
    for c in (whole, part):
        configure_with(c)
        assert c.JupyterHub.jinja_environment_options == {
            "trim_blocks": True,
            "extensions": ["jinja2.ext.do", Templating],
        }
    assert configure_with(Config()).JupyterHub.jinja_environment_options == {"extensions": [Templating]}


@pytest.mark.parametrize("named", [None, "kubespawner.KubeSpawner", KubeSpawner])
def test_kubespawner_is_found_however_it_is_named(plugin: Plugin, named: Any) -> None:
    c = Config()
    if named is not None:
        c.JupyterHub.spawner_class = named
    assert issubclass(configure_with(c).JupyterHub.spawner_class, KubeSpawner)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("simple", "need kubespawner.KubeSpawner"),
        ("jupyterhub.spawner.LocalProcessSpawner", "need kubespawner.KubeSpawner"),
        ("no.such.Spawner", "cannot be loaded"),
        (42, "need kubespawner.KubeSpawner"),
    ],
)
def test_other_spawner_stops_the_hub(plugin: Plugin, named: Any, words: str) -> None:
    c = Config()
    c.JupyterHub.spawner_class = named
    with pytest.raises(SystemExit, match=words):
        configure_with(c)


def test_second_call_stops_the_hub(plugin: Plugin) -> None:
    with pytest.raises(SystemExit, match="called twice"):
        configure_with(configure_with(Config()))


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"KS_START_TIMEOUT": "15m"}, ("KS_START_TIMEOUT", "15m", "seconds")),
        ({"DEFAULT_STORAGE_CAPACITY": "10GB"}, ("DEFAULT_STORAGE_CAPACITY", "10GB", "10Gi")),
        (
            {"DEFAULT_STORAGE_ACCESS_MODES": "ReadWriteManny"},
            ("DEFAULT_STORAGE_ACCESS_MODES", "ReadWriteManny", "ReadWriteMany"),
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_environment_stops_the_hub_with_one_message(environ: dict[str, str], words: tuple[str, ...]) -> None:
    """L3: variable, value, what is accepted."""
    with pytest.raises(SystemExit) as caught:
        configure_with(Config(), **environ)
    for word in words:
        assert word in str(caught.value)


def test_unknown_manager_stops_the_hub() -> None:
    """L1: never a fallback."""
    with pytest.raises(SystemExit, match="keyclok"):
        hub.configure(Config(), {"WORKSPACE_MANAGER": "keyclok"})


# What a later part of the configuration sets; tests/e2e/test_settings.py has the same on a real hub.


def checked(c: Config, used: type | None = None) -> list[str]:
    ours = c.JupyterHub.spawner_class
    return precedence.check(c, used or ours, ours, Settings.from_environ({"POD_NAMESPACE": "hub"}))


@pytest.mark.parametrize("section", ["KubeSpawner", "Spawner", "WorkspaceSpawner"])
@pytest.mark.parametrize("trait", precedence.NO_EFFECT)
def test_setting_without_effect_is_warned_of_once(plugin: Plugin, section: str, trait: str) -> None:
    c = configure_with(Config())
    assert checked(c) == []
    c[section][trait] = ["x"]
    assert checked(c) == [f"{section}.{trait} is set and has no effect: {precedence.NO_EFFECT[trait]}"]


def test_setting_switched_off_is_not_warned_of(plugin: Plugin) -> None:
    """The chart sets storage_pvc_ensure to false where storage is of type none."""
    c = Config()
    c.KubeSpawner.storage_pvc_ensure = False
    assert checked(configure_with(c)) == []


def test_named_servers_turned_off_are_warned_of(plugin: Plugin) -> None:
    """W1: people then have one server, for whichever workspace. The chart turns them off where nothing is said."""
    c = Config()
    c.JupyterHub.allow_named_servers = False
    c = configure_with(c)
    assert (c.JupyterHub.allow_named_servers, checked(c)) == (True, [])
    c.JupyterHub.allow_named_servers = False
    assert checked(c) == [
        "JupyterHub.allow_named_servers is turned off, so every workspace is opened by the server without a name, one "
        "at a time"
    ]


@pytest.mark.parametrize("set_before", [None, True, False])
def test_signing_in_leads_home_unless_an_operator_said_otherwise(plugin: Plugin, set_before: bool | None) -> None:
    c = Config()
    if set_before is not None:
        c.JupyterHub.redirect_to_server = set_before
    assert configure_with(c).JupyterHub.redirect_to_server is bool(set_before)


def test_templates_of_an_older_image_are_told_of(tmp_path: Path) -> None:
    """F2: a page of before is one clear warning; the image's own copies of ours are none."""
    ours, copies, older = templates_folder(), tmp_path / "copies", tmp_path / "older"
    shutil.copytree(ours, copies)
    older.mkdir()
    for name in ("form.html", "page.html", "their-own.html"):
        (older / name).write_text("{# of 2023 #}")
    folders = [str(tmp_path / "missing"), str(older), str(copies), str(older), str(ours)]
    assert list(precedence.templates_of_others(folders)) == [
        f"'{older}/form.html' has no effect: the form is workspaces/form.html of the template paths",
        f"'{older}/page.html' takes the place of the workspace manager's; where it was made for an older image, remove "
        "it, or make it anew from the one that it replaces",
    ]


def test_start_timeout_of_another_section_is_warned_of(plugin: Plugin) -> None:
    c = configure_with(Config())
    c.Spawner.start_timeout = 5
    assert ["Spawner.start_timeout" in sentence for sentence in checked(c)] == [True]


@pytest.mark.parametrize(
    ("section", "trait", "value", "words"),
    [
        ("KubeSpawner", "enable_user_namespaces", True, "enable_user_namespaces is on"),
        ("WorkspaceSpawner", "enable_user_namespaces", True, "enable_user_namespaces is on"),
        ("KubeSpawner", "namespace", "elsewhere", "namespace was set to 'elsewhere'"),
        ("WorkspaceSpawner", "namespace", "elsewhere", "namespace was set to 'elsewhere'"),
    ],
)
def test_setting_that_would_part_pods_from_claims_stops_the_hub(
    plugin: Plugin, section: str, trait: str, value: Any, words: str
) -> None:
    c = configure_with(Config())
    c[section][trait] = value
    with pytest.raises(ConfigurationError, match=words):
        checked(c)


def test_spawner_class_set_after_ours_stops_the_hub(plugin: Plugin) -> None:
    with pytest.raises(ConfigurationError, match="was set to 'Operators' after"):
        checked(configure_with(Config()), Operators)


@pytest.mark.parametrize("name", precedence._OURS)
def test_subclass_that_takes_our_place_stops_the_hub(plugin: Plugin, name: str) -> None:
    """Behaviour that others can replace is not behaviour that is promised."""
    c = configure_with(Config())
    ours = c.JupyterHub.spawner_class
    with pytest.raises(ConfigurationError, match=f"overrides {name}"):
        checked(c, type(ours)("Theirs", (ours,), {name: lambda *_: None}))
    assert checked(c, type(ours)("Theirs", (ours,), {"environment_of_theirs": 1})) == []


def test_every_method_of_ours_is_looked_at() -> None:
    """One that is added and forgotten could be replaced."""
    own = {name for name, value in vars(WorkspaceSpawner).items() if callable(value)}
    private = {
        "_start_workspace",
        "_refuse",
        "_look",
        "_look_at_pod",
        "_pod",
        "_events_of",
        "_expect_answer",
        "_as_granted",
    }
    private |= {"_document", "_without_personal_claims", "_remove_what_is_left", "_gave_up"}
    private |= {"_chosen", "_find_place", "_live_in", "_move_to", "_url_of_the_hub"}
    only_told = {"progress", "poll", "home"}  # what people read, and nothing that is decided
    assert own - private - only_told == set(precedence._OURS)


# The form


async def test_form_shows_what_the_user_has(plugin: Plugin) -> None:
    """A3, F1: a radio for each open workspace, the last used one checked."""
    spawner = make_spawner(configure_with(Config()), profile="cardio")
    html = await spawner.get_options_form()
    assert html.count('type="radio"') == 2
    assert 'value="cardio"' in html
    assert spawner.handler.status == 200


@pytest.mark.parametrize(
    ("failure", "status"),
    [(BackendUnavailable("down: secret"), 503), (RuntimeError("secret"), 503), (AccessDenied("secret"), 403)],
    ids=["unavailable", "broken", "denied"],
)
async def test_form_that_cannot_be_made_is_a_page_that_says_so(plugin: Plugin, failure: Exception, status: int) -> None:
    """A4: never an empty form, which would start a server at once."""
    plugin.failure = failure
    spawner = make_spawner(configure_with(Config()))
    html = await spawner.get_options_form()
    assert html.strip()
    assert "radio" not in html
    assert "secret" not in html
    assert ("This is not open to you" if status == 403 else "cannot be shown right now") in html
    assert "You have no workspaces" not in html
    assert spawner.handler.status == status


async def test_texts_of_a_resource_are_escaped_on_the_form(plugin: Plugin) -> None:
    """F1: the hub prints the result as it is."""
    plugin.grants = (workspace(display_name="<img src=x>", description="<script>alert(1)</script>"),)
    html = await make_spawner(configure_with(Config())).get_options_form()
    assert "&lt;img src=x&gt;" in html
    assert "<img" not in html
    assert "<script>alert" not in html


@pytest.mark.parametrize(
    "start",
    [
        ("cardio", Form, 'value="cardio"'),
        ("rare", Form, "This is not open to you"),
        ("rare", partial(Form, incomplete=True), "cannot be shown right now"),
        ("rare", partial(Form, sign_in_again=True), "Please sign in again"),
    ],
    ids=["its own", "not theirs", "incomplete", "sign in again"],
)
async def test_form_of_a_server_with_a_name_has_its_workspace_alone(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, start: tuple[str, Any, str]
) -> None:
    """W1, A4: and where that may be missing, nobody reads that it is not theirs."""
    server, answer, shown = start
    forms = build_form(plugin.grants, TODAY)

    async def build(_plugin: Any, _user: Any) -> Form:
        made: Form = answer(forms.cards)
        return made

    monkeypatch.setattr(engine, "build_form", build)
    html = await make_spawner(configure_with(Config()), server=server).get_options_form()
    assert shown in html
    assert html.count('type="radio"') == (server == "cardio")


async def test_form_of_kubespawners_kind_is_not_taken_for_ours(plugin: Plugin, tmp_path: Path) -> None:
    """F2: an older image has a form.html in its template paths; a site's own counts under workspaces/form.html."""
    (tmp_path / "form.html").write_text("{% for profile in profile_list %}{{ profile.slug }}{% endfor %}")
    c = Config()
    c.JupyterHub.template_paths = [str(tmp_path)]
    assert 'value="cardio"' in await make_spawner(configure_with(c)).get_options_form()
    (tmp_path / "workspaces").mkdir()
    (tmp_path / "workspaces" / "form.html").write_text("{{ username }}: {{ form.cards | length }}")
    c = Config()
    c.JupyterHub.template_paths = [str(tmp_path)]
    assert await make_spawner(configure_with(c)).get_options_form() == "alice: 2"


# The manager's life


async def test_plugin_starts_with_the_hub_and_not_while_its_config_loads(plugin: Plugin) -> None:
    """L3; the first form need not wait for what the plugin reads first."""
    c = configure_with(Config())
    assert plugin.started == 0
    await asyncio.sleep(0.05)
    assert plugin.started == 1
    for _ in range(3):
        await make_spawner(c).get_options_form()
    assert plugin.started == 1
    service_of(c)._keeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await service_of(c)._keeper
    assert plugin.closed == 1


async def test_plugin_that_does_not_start_with_the_hub_is_started_by_the_next_form(
    plugin: Plugin, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4: the hub goes on, and says why it cannot answer yet."""
    failures = [BackendUnavailable("not there yet")]

    async def start() -> None:
        if failures:
            raise failures.pop()

    monkeypatch.setattr(plugin, "start", start)
    c = configure_with(Config())
    await asyncio.sleep(0.05)
    assert "has not started yet, and is started again by the next form: not there yet" in caplog.text
    assert "cardio" in await make_spawner(c).get_options_form()


def test_config_is_read_without_an_event_loop_too(plugin: Plugin) -> None:
    """As `jupyterhub token` does, which asks the plugin nothing."""
    configure_with(Config())
    assert plugin.started == 0


def test_deep_copies_of_the_config_have_the_one_manager(plugin: Plugin) -> None:
    """Each spawner gets a deep copy of its config; a copied manager would have no cache."""
    c = configure_with(Config())
    copied = SimpleNamespace(config=c.copy())
    assert service_of(copied.config) is service_of(c)

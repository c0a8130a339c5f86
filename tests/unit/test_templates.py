"""The pages, rendered as the hub does it: form.html in our environment, the others in the hub's own.

The second half uses the templates of whichever JupyterHub is installed, so it holds on every stack.
"""

from __future__ import annotations

import gettext
import re
from contextvars import Context
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jupyterhub
import pytest
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined
from jupyterhub._data import DATA_FILES_PATH

from workspace_managers import texts
from workspace_managers.errors import FILES_ARE_KEPT, AccessDenied, BackendUnavailable
from workspace_managers.forms import Card, Form
from workspace_managers.hub.home import Entry, Home
from workspace_managers.hub.outlook import Outlook
from workspace_managers.hub.service import Ended
from workspace_managers.hub.spawner import WorkspaceSpawner
from workspace_managers.hub.templating import Templating

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
NAMES = sorted(path.name for path in TEMPLATES.glob("*.html"))
HOSTILE = """<script>alert(1)</script><img src=x onerror=alert(1)>"'><input name="profile">&amp;"""
VOID = {"input", "img", "meta", "link", "br"}


@dataclass
class Element:
    """One start tag and the text inside it."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """Rendered HTML, flat: every element in the order of the document."""

    html: str
    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        return [
            element
            for element in self.elements
            if element.tag == tag and all(element.attributes.get(name) == value for name, value in attributes.items())
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def radios(self) -> list[Element]:
        return self.all("input", type="radio")

    @property
    def text(self) -> str:
        return " ".join(re.sub(r"<script[^>]*>.*?</script>|<[^>]*>", " ", self.html, flags=re.S).split())

    @property
    def can_start(self) -> bool:
        return bool(self.all("button"))


def card(slug: str = "cardio-outcomes", state: str = "open", **changes: object) -> Card:
    when = {
        "open": "Open until the end of 7 January 2030",
        "future": "Opens 1 February 2027",
        "expired": "Expired 31 December 2024",
    }
    plain = Card(
        slug=slug,
        title=f"Title of {slug}",
        description="Two\nlines",
        image="registry.example/notebook:1",
        cpu="2 cores",
        memory="4 GiB",
        folder=slug,
        keeps_home=False,
        state=state,
        when=when[state],
        day={"open": date(2030, 1, 7), "future": date(2027, 2, 1), "expired": date(2024, 12, 31)}[state],
        closing_soon=False,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields of Card, by name


OPEN, FUTURE, EXPIRED = card(), card("next-study", "future"), card("closed-study", "expired")
FULL = Form((OPEN, card("asthma-cohort"), FUTURE, EXPIRED))


FORM = Environment(
    autoescape=True, undefined=StrictUndefined, loader=FileSystemLoader(TEMPLATES), extensions=[Templating]
).get_template("workspaces/form.html")


def render(form: Form | None, *, selected: str | None = None, notice: object = None, username: str = "carol") -> Page:
    return Page(
        FORM.render(form=form, selected=selected, notice=notice, zone=UTC, username=username, logout_url="/hub/logout")
    )


NOTICES = {
    "denied": SimpleNamespace(kind="denied", message=AccessDenied("cause").user_message),
    "unavailable": SimpleNamespace(kind="unavailable", message=BackendUnavailable("cause").user_message),
    "short": SimpleNamespace(kind="unavailable", message="The service is being repaired."),
}
PAGES = {
    "full": render(FULL),
    "twelve": render(Form((*(card(f"study-{n}") for n in range(10)), FUTURE, EXPIRED))),
    "long": render(Form((card(description="word " * 900), card("old", "expired", description="x" * 5000)))),
    "empty": render(Form(())),
    "sign-in-again": render(Form((), sign_in_again=True)),
    "some-after-sign-in": render(Form((OPEN,), sign_in_again=True)),
    "incomplete": render(Form((OPEN, FUTURE), incomplete=True)),
    "future": render(Form((FUTURE,))),
    "futures": render(Form((FUTURE, card("later", "future")))),
    "expired": render(Form((EXPIRED,))),
    "denied": render(None, notice=NOTICES["denied"]),
    "unavailable": render(None, notice=NOTICES["unavailable"]),
    "nothing": render(None),
}
every_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


# form.html


@pytest.mark.parametrize("state", ["open", "future", "expired"])
@pytest.mark.parametrize("name", [one.name for one in fields(Card) if one.type == "str" and one.name != "state"])
def test_f1_every_field_of_a_card_is_escaped(name: str, state: str) -> None:
    plain, hostile = card(state=state), replace(card(state=state), **{name: HOSTILE})  # type: ignore[arg-type]  # as above
    expected, page = render(Form((plain,))), render(Form((hostile,)))
    assert [element.tag for element in page.elements] == [element.tag for element in expected.elements]
    if name == "slug":
        assert [radio.attributes["value"] for radio in page.radios] == [HOSTILE] * (state == "open")
    else:
        assert any(HOSTILE in element.text for element in page.elements)


@pytest.mark.parametrize("where", ["username", "message"])
def test_f1_names_and_messages_are_escaped(where: str) -> None:
    notice = SimpleNamespace(kind="denied", message=HOSTILE)
    page = render(Form(()), username=HOSTILE) if where == "username" else render(None, notice=notice)
    assert any(HOSTILE in element.text for element in page.elements)
    assert not page.all("script")
    assert not page.all("img")


def test_f1_a_folded_description_is_escaped_where_it_is_cut() -> None:
    page = render(Form((card(description=HOSTILE * 50),)))
    assert len(page.all("script")) == len(render(Form((OPEN,))).all("script"))
    assert not page.all("img")
    assert HOSTILE * 50 in page.one("details").text


def test_f2_open_workspaces_are_one_radio_group_with_a_legend() -> None:
    page = PAGES["full"]
    assert page.one("legend").text == "Open to you"
    assert page.one("legend").text in page.one("fieldset").text
    assert [radio.attributes["value"] for radio in page.radios] == ["cardio-outcomes", "asthma-cohort"]
    assert {radio.attributes["name"] for radio in page.radios} == {"profile"}
    assert all("required" in radio.attributes for radio in page.radios)


def test_f2_the_label_is_the_title_and_the_rest_describes_it() -> None:
    page = PAGES["full"]
    radio = page.radios[0]
    assert page.one("label", **{"for": str(radio.attributes["id"])}).text == "Title of cardio-outcomes"
    identifiers = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(identifiers) == len(set(identifiers))
    described = str(radio.attributes["aria-describedby"]).split()
    assert set(described) <= set(identifiers)
    words = [next(e.text.strip() for e in page.elements if e.attributes.get("id") == one) for one in described]
    assert words == ["Open until the end of 7 January 2030", "Two\nlines", "CPU2 cores", "Memory4 GiB"]


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        ("asthma-cohort", "asthma-cohort"),
        (None, "cardio-outcomes"),
        ("next-study", "cardio-outcomes"),
        ("somebody-elses", "cardio-outcomes"),
    ],
    ids=["asked for", "none", "not open", "unknown"],
)
def test_f1_exactly_one_open_workspace_is_checked(selected: str | None, expected: str) -> None:
    page = render(FULL, selected=selected)
    assert [radio.attributes["value"] for radio in page.radios if "checked" in radio.attributes] == [expected]


def test_f2_what_opens_later_and_what_has_closed_is_shown_but_not_selectable() -> None:
    page = PAGES["full"]
    assert [heading.text for heading in page.all("h2")] == ["Opening later", "Closed"]
    assert [heading.text for heading in page.all("h3")] == ["Title of next-study", "Title of closed-study"]
    assert "Opens 1 February 2027" in page.text
    assert "Expired 31 December 2024" in page.text
    assert not {"next-study", "closed-study"} & {radio.attributes["value"] for radio in page.radios}


@pytest.mark.parametrize("state", ["open", "future", "expired"])
def test_f2_a_card_shows_image_cpu_memory_and_folder(state: str) -> None:
    shown = [fact.text for fact in render(Form((card(state=state),))).all("dd")]
    assert shown == ["2 cores", "4 GiB", "~/cardio-outcomes", "registry.example/notebook:1"]


def test_s8_what_is_kept_is_said_where_it_is() -> None:
    """S8: and where a workspace keeps no home folder, that what is left in it goes."""
    goes = "Everything else in its home folder goes when it is stopped."
    without, some = render(Form((OPEN,))), render(Form((OPEN, card("other", keeps_home=True))))
    assert goes in without.text
    assert "Home folder" not in without.text
    assert goes not in some.text
    assert "is kept only where a workspace says so" in some.text
    assert [fact.text for fact in some.all("dd")].count("kept, for you alone") == 1


def test_f1_a_description_has_links_and_no_other_markup() -> None:
    """Where they lead to is told nothing of where they were."""
    text = f"See https://example.org/a?b=1&c=2 and javascript:alert(1)\n{HOSTILE}"
    page = render(Form((card(description=text),)))
    (link,) = page.all("a")
    assert (link.text, link.attributes["href"]) == ("https://example.org/a?b=1&c=2",) * 2
    assert link.attributes["rel"] == "noopener noreferrer"
    assert page.all("p")[0].text == text
    assert not page.all("img")


def test_f1_a_link_that_was_cut_is_none() -> None:
    page = render(Form((card(description="word " * 54 + "https://example.org/" + "x" * 400),)))
    assert [link.text for link in page.all("a")] == ["https://example.org/" + "x" * 400]


def test_f2_closing_soon_stands_out() -> None:
    page = render(Form((card(when="Closes in 6 days", closing_soon=True), card("other"))))
    badges = [badge for badge in page.all("span") if "wm-badge" in str(badge.attributes.get("class"))]
    assert [("wm-badge-soon" in str(badge.attributes["class"]), badge.text) for badge in badges] == [
        (True, "Closes in 6 days"),
        (False, "Open until the end of 7 January 2030"),
    ]


@pytest.mark.parametrize(
    ("description", "folded"),
    [("", False), ("short", False), ("x" * 340, False), ("x" * 341, True), ("word " * 900, True)],
    ids=["none", "short", "340 characters", "341 characters", "long"],
)
def test_f2_only_long_descriptions_fold_and_nothing_is_lost(description: str, folded: bool) -> None:
    page = render(Form((card(description=description),)))
    assert bool(page.all("details")) is folded
    assert any(paragraph.text == description for paragraph in page.all("p")) is bool(description)
    if folded:
        assert len(page.all("p")[0].text) <= 281


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (FULL, True),
        (Form((OPEN,)), True),
        (Form(()), False),
        (Form((FUTURE,)), False),
        (Form((FUTURE, EXPIRED)), False),
        (Form((EXPIRED,)), False),
        (None, False),
    ],
    ids=["full", "one", "empty", "future", "future and expired", "expired", "no form"],
)
def test_f2_start_button_only_where_something_is_open(form: Form | None, expected: bool) -> None:
    page = render(form)
    assert page.can_start is expected
    assert bool(page.radios) is expected
    if expected:
        assert page.one("button", id="wm-start", type="submit").text == "Start"


@pytest.mark.parametrize(("count", "expected"), [(1, False), (8, False), (9, True), (12, True)])
def test_f2_filter_only_above_eight_cards(count: int, expected: bool) -> None:
    page = render(Form((OPEN, *(card(f"old-{n}", "expired") for n in range(count - 1)))))
    assert bool(page.all("input", type="search")) is expected
    if expected:
        field_ = page.one("input", type="search")
        assert "name" not in field_.attributes  # or it would be sent with the choice
        assert page.all("label", **{"for": str(field_.attributes["id"])})
        assert page.one("p", role="status").text == f"{count} workspaces"
        assert "hidden" in page.one("div", id="wm-filter").attributes  # until its script runs


def test_f2_nobody_without_a_workspace_is_left_without_advice() -> None:
    text = PAGES["empty"].text
    assert "You have no workspaces yet" in text
    assert "Ask the lead of your project to give you access to a workspace" in text
    assert "they will need your username: carol" in text


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("future", "Title of next-study : Opens 1 February 2027. From that day you can start it here."),
        ("futures", "None of your workspaces is open yet"),
        ("expired", f"Your workspace has closed {FILES_ARE_KEPT}"),
    ],
)
def test_f2_cards_but_none_open_says_when_and_what_to_do(page: str, sentence: str) -> None:
    assert sentence in PAGES[page].text


@pytest.mark.parametrize("form", [None, FULL], ids=["no form", "form"])
@pytest.mark.parametrize("kind", NOTICES)
def test_a4_a_notice_says_what_happened_and_starts_nothing(kind: str, form: Form | None) -> None:
    page = render(form, notice=NOTICES[kind], selected="cardio-outcomes")
    assert NOTICES[kind].message in page.text
    assert page.text.count(FILES_ARE_KEPT) == 1
    assert page.one("section", role="alert")
    assert page.one("a", href="").text == "Try again"
    assert not page.can_start
    assert not page.radios
    assert "cardio-outcomes" not in page.html


def test_a4_denied_and_unavailable_are_different_pages() -> None:
    headings = [PAGES[name].one("h2").text for name in ("denied", "unavailable")]
    assert headings == ["This is not open to you", "Your workspaces cannot be shown right now"]


@every_page
def test_f2_no_event_handlers_and_nothing_from_elsewhere(page: Page) -> None:
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on")]
        assert not {"src", "action", "style"} & element.attributes.keys()
        assert element.attributes.get("href") in (None, "", "/hub/logout")


# The hub's pages

OUTLOOK = Outlook(
    now=datetime(2030, 1, 7, 12, tzinfo=UTC),
    end=datetime(2030, 1, 8, tzinfo=UTC),
    last_day=date(2030, 1, 7),
    pod_ends=None,
    outdated=True,
    uncertain_seconds=None,
    uncertain_limit=0,
)
RUNNING = Entry(
    title=OPEN.title,
    card=OPEN,
    server="cardio-outcomes",
    state="running",
    since=datetime(2030, 1, 7, 9, 40, tzinfo=UTC),
    outlook=OUTLOOK,
)
STOPPED = [Entry(title=each.title, card=each, server=each.slug, state="stopped") for each in FULL.openable]
RESTING = [Entry(title=each.title, card=each, server=each.slug, state=each.state) for each in (FUTURE, EXPIRED)]


def home(*entries: Entry, form: Form | None = FULL, notice: object = None, at_once: int = 1) -> dict[str, object]:
    page = Home(form=form, notice=notice, entries=entries, at_once=at_once, zone=UTC)
    return {"default_server": SimpleNamespace(home=lambda: page), "url": "/hub/spawn", "xsrf": "2|a"}


HUB_PAGES: dict[str, tuple[str, dict[str, object]]] = {
    "home": ("home.html", home(RUNNING, STOPPED[1], *RESTING)),
    "home, none": ("home.html", home(form=Form(()))),
    "home, unavailable": ("home.html", home(replace(RUNNING, card=None), form=None, notice=NOTICES["unavailable"])),
    "spawn": ("spawn.html", {"spawner_options_form": PAGES["full"].html, "url": "/hub/spawn?next=%2F&_xsrf=2|a"}),
    "empty": ("spawn.html", {"spawner_options_form": PAGES["empty"].html, "url": "/hub/spawn"}),
    "pending": ("spawn_pending.html", {"progress_url": "/hub/api/users/carol/server/progress?_xsrf=2|a"}),
    "failed": ("not_running.html", {"failed": True, "spawn_url": "/hub/spawn/carol"}),
    "stopped": ("not_running.html", {"spawn_url": "/hub/spawn/carol", "implicit_spawn_seconds": 5}),
    "403": ("error.html", {"status_code": 403, "status_message": "Forbidden", "message": ""}),
    "404": ("404.html", {"status_code": 404, "status_message": None, "message": None}),
    "503": ("error.html", {"status_code": 503, "status_message": "Service Unavailable", "message": "Starting."}),
}


STOCK = Path(DATA_FILES_PATH) / "templates"
# As JupyterHub sets its environment up: stock templates under "templates/", ours before them otherwise.
HUB = Environment(
    autoescape=True,
    loader=ChoiceLoader(
        [PrefixLoader({"templates": FileSystemLoader(STOCK)}), FileSystemLoader([TEMPLATES, STOCK])],
    ),
    extensions=[Templating],
)


def hub_page(template: str, /, **variables: object) -> Page:
    options = {"profile": "cardio-outcomes"}
    spawner = SimpleNamespace(
        name="",
        options_form="",
        user_options=options,
        title="Title of cardio-outcomes",
        cancellable=False,
        news=variables.pop("news", ""),
    )
    user = SimpleNamespace(
        name="carol",
        escaped_name="carol",
        json_escaped_name="carol",
        spawner=spawner,
        spawners={"": spawner},
        server_url=lambda name="": f"/user/carol/{name}",
    )
    common = {
        "base_url": "/hub/",
        "login_url": "/hub/login",
        "logout_url": "/hub/logout",
        "static_url": lambda path, **_: f"/hub/static/{path}",
        "user": user,
        "for_user": user,
        "spawner": spawner,
        "parsed_scopes": {},
        "services": [],
    }
    return Page(HUB.get_template(template).render(common | variables))


@pytest.mark.parametrize(("template", "variables"), HUB_PAGES.values(), ids=HUB_PAGES)
def test_f2_every_page_has_our_mark_one_main_landmark_and_a_title(template: str, variables: dict[str, object]) -> None:
    page = hub_page(template, **variables)
    assert page.one("meta", name="generator", content="jupyterhub-workspace-managers")
    assert page.one("main").attributes["id"] == page.one("a", **{"class": "wm-skip"}).attributes["href"][1:]  # type: ignore[index]  # it has one
    assert page.html.count("</main>") == 1
    assert page.one("title").text.strip().endswith("· JupyterHub")
    main = page.html[page.html.index("<main") : page.html.index("</main>")]
    assert len(Page(main).all("h1")) == 1


@pytest.mark.parametrize("name", NAMES)
def test_f2_no_template_has_event_handlers_or_loads_from_elsewhere(name: str) -> None:
    source = (TEMPLATES / name).read_text(encoding="utf-8")
    assert not re.search(r"\son\w+\s*=\s*[\"']|https?://[^\"']|@import|\burl\(", source)
    # The hub's own home page knows servers alone.
    assert name == "home.html" or f'{{% extends "templates/{name}" %}}' in source


@pytest.mark.parametrize(("template", "variables"), HUB_PAGES.values(), ids=HUB_PAGES)
def test_f1_page_runs_the_scripts_of_its_templates_alone(template: str, variables: dict[str, object]) -> None:
    def made() -> str:
        form = {"spawner_options_form": render(FULL).html} if "spawner_options_form" in variables else {}
        page = hub_page(template, **(variables | form), announcement="<script>told()</script>")
        policy = page.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"] or ""
        nonce: str
        (nonce,) = re.findall(r"script-src 'self' 'nonce-([\w-]{22})'", policy)
        scripts = page.all("script")
        assert len(scripts) > 3
        assert [each.text for each in scripts if each.attributes.get("nonce") != nonce] == ["told()"]
        return nonce

    assert len({Context().run(made) for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("variables", "has_policy"), [({}, True), ({"custom_html": "<script>ask()</script>"}, False)], ids=["", "custom"]
)
def test_page_to_sign_in_keeps_the_scripts_of_the_authenticator(variables: dict[str, object], has_policy: bool) -> None:
    page = hub_page("login.html", **variables, authenticator=SimpleNamespace(request_otp=False), user=None)
    assert bool(page.all("meta", **{"http-equiv": "Content-Security-Policy"})) is has_policy


def test_f2_home_has_each_workspace_once_with_its_state_and_what_can_be_done() -> None:
    page = hub_page("home.html", **home(RUNNING, STOPPED[1], *RESTING))
    main = page.html[page.html.index("<main") : page.html.index("<dialog")]
    found = [(each.tag, each.text.strip()) for each in Page(main).elements if each.tag in ("h2", "h3", "a", "button")]
    assert found == [
        ("h2", "Open now"),
        *(("h3", "Title of cardio-outcomes"), ("a", "Open"), ("button", "Stop")),
        ("h2", "Open to you"),
        *(("h3", "Title of asthma-cohort"), ("button", "Start")),
        *(("h2", "Opening later"), ("h3", "Title of next-study"), ("h2", "Closed"), ("h3", "Title of closed-study")),
    ]
    assert "Running since 7 January 2030, 09:40" in page.text
    assert "Open until the end of 7 January 2030." in page.text
    assert "in 12 hours" in page.text
    opens = page.one("a", **{"aria-label": "Open Title of cardio-outcomes"})
    assert (opens.attributes["href"], "autofocus" in opens.attributes) == ("/user/carol/cardio-outcomes", True)
    start = page.one("form")
    assert start.attributes["action"] == "/hub/spawn/carol/asthma-cohort?_xsrf=2%7Ca"
    assert page.one("input", name="profile").attributes["value"] == "asthma-cohort"


@pytest.mark.parametrize(
    ("states", "at_once", "full"),
    [
        ([], 1, "false"),
        (["running"], 1, "true"),
        (["starting"], 1, "true"),
        (["stopping"], 1, "false"),
        (["running"], 2, "false"),
        (["running", "starting"], 2, "true"),
        (["running"] * 9, 0, "false"),
    ],
    ids=str,
)
def test_w2_home_knows_whether_one_has_to_stop_before_another_starts(
    states: list[str], at_once: int, full: str
) -> None:
    """A server that is being stopped is waited for by the start itself."""
    entries = [replace(RUNNING, state=state) for state in states]
    page = hub_page("home.html", **home(*entries, *STOPPED, at_once=at_once))
    assert page.one("div", id="wm-home").attributes["data-full"] == full


def test_f2_home_tells_what_became_of_a_server_and_shows_one_that_starts_or_stops() -> None:
    entries = (replace(STOPPED[0], news="Your workspace has ended."), replace(RUNNING, state="starting", server=""))
    page = hub_page("home.html", **home(*entries, replace(RUNNING, title="Third", state="stopping")))
    assert "Your workspace has ended." in page.text
    assert page.one("a", **{"aria-label": "See how Title of cardio-outcomes starts"}).attributes["href"] == (
        "/hub/spawn-pending/carol"
    )
    assert "Stopping …" in page.text
    assert not page.all("a", **{"aria-label": "Open Third"})


def test_a4_home_shows_servers_also_where_workspaces_cannot_be_looked_up() -> None:
    page = hub_page(*HUB_PAGES["home, unavailable"][:1], **HUB_PAGES["home, unavailable"][1])
    assert page.one("a", **{"aria-label": "Open Title of cardio-outcomes"})
    assert NOTICES["unavailable"].message in page.text
    assert not page.all("form")


def test_f2_home_of_somebody_without_a_workspace_says_whom_to_ask() -> None:
    page = hub_page(*HUB_PAGES["home, none"][:1], **HUB_PAGES["home, none"][1])
    assert "they will need your username: carol" in page.text


def test_f2_home_where_nothing_is_open_says_when() -> None:
    page = hub_page("home.html", **home(RESTING[0], form=Form((FUTURE,))))
    assert "Your workspace is not open yet" in page.text


def test_f2_home_tells_of_a_workspace_that_is_not_the_person_s_any_more() -> None:
    page = Home(
        form=FULL, notice=None, entries=(), at_once=1, zone=UTC, ended=(Ended("x", HOSTILE, "It was taken away."),)
    )
    shown = hub_page("home.html", default_server=SimpleNamespace(home=lambda: page))
    assert shown.one("p", **{"class": "wm-note"}).text == f"{HOSTILE}: It was taken away."


def test_f1_home_shows_text_as_text() -> None:
    hostile = card(title=HOSTILE, description=HOSTILE, image=HOSTILE)
    entry = Entry(title=HOSTILE, card=hostile, server='"><img>', state="running", news=HOSTILE)
    page = hub_page("home.html", **home(entry, replace(entry, state="stopped")))
    assert [image.attributes["alt"] for image in page.all("img")] == ["JupyterHub logo"]
    assert {each.attributes["name"] for each in page.all("input") if "name" in each.attributes} == {"profile"}
    assert page.all("h3")[0].text == HOSTILE


@pytest.mark.parametrize(
    ("contact", "link"),
    [
        ("help@example.org", "mailto:help@example.org"),
        ("https://example.org/help?a=1&b=2", "https://example.org/help?a=1&b=2"),
        ("/services/help", "/services/help"),
        ("Room 3", None),
        ("javascript:alert(1)", None),
    ],
)
def test_f2_every_page_says_whom_to_ask_where_the_site_says_it(contact: str, link: str | None) -> None:
    page = hub_page("error.html", status_code=404, status_message=None, message=None, workspaces_contact=contact)
    assert f"The people who run this service: {contact}" in page.text.replace("&amp;", "&")
    assert [each.attributes["href"] for each in page.all("a") if each.text == contact] == ([link] if link else [])


def test_f2_a_site_has_its_own_colour() -> None:
    page = hub_page("error.html", status_code=404, status_message=None, message=None, workspaces_accent="#8a1538")
    assert "--wm-button: #8a1538;" in page.html
    hostile = hub_page("error.html", status_code=404, status_message=None, message=None, workspaces_accent=HOSTILE)
    assert "<script>alert" not in hostile.html


def test_f2_an_announcement_stands_inside_the_main_landmark() -> None:
    page = hub_page(HUB_PAGES["spawn"][0], announcement_spawn="Maintenance on Monday", **HUB_PAGES["spawn"][1])
    assert "Maintenance on Monday" in page.one("main").text


def test_f2_spawn_page_asks_to_choose_and_sends_the_form_to_the_hub() -> None:
    page = hub_page(HUB_PAGES["spawn"][0], **HUB_PAGES["spawn"][1])
    assert page.one("h1", **{"class": "wm-title"}).text == "Choose a workspace"
    form = page.one("form")
    assert form.attributes["action"] == HUB_PAGES["spawn"][1]["url"]
    assert (form.attributes["method"], form.attributes["enctype"]) == ("post", "multipart/form-data")
    assert len(page.radios) == 2


def test_f2_spawn_page_with_nothing_to_choose_does_not_ask_for_a_choice() -> None:
    page = hub_page(HUB_PAGES["empty"][0], **HUB_PAGES["empty"][1])
    assert page.one("h1", **{"class": "wm-title"}).text == "Your workspaces"
    assert not page.all("button", type="submit")


def test_f1_a_description_cannot_pass_for_the_start_button() -> None:
    form = render(Form((card(state="expired", description='id="wm-start"'),))).html
    assert hub_page("spawn.html", spawner_options_form=form, url="").one("h1", **{"class": "wm-title"}).text == (
        "Your workspaces"
    )


@pytest.mark.parametrize(
    ("variables", "shown", "hidden"),
    [
        ({"error_message": AccessDenied("cause").user_message}, AccessDenied("cause").user_message, "Error:"),
        ({"error_message": HOSTILE}, HOSTILE, "<img"),
        ({"error_message": "HTTP 500: Internal Server Error (x)"}, FILES_ARE_KEPT, "Error:"),
        ({"error_message": "HTTP 429: Too Many Requests (x)"}, "Please try again in a minute", "Error:"),
        ({"error_message": "", "html_error_message": "See <b>there</b>"}, "See there", "&lt;b"),
        ({"error_message": None, "error_html_message": "See <b>there</b>"}, "See there", "&lt;b"),
    ],
    ids=["sentence", "hostile", "raw", "too many", "HTML of hub 6", "HTML of hub 5"],
)
def test_a4_an_error_on_the_spawn_page_is_an_alert_in_words(
    variables: dict[str, object], shown: str, hidden: str
) -> None:
    page = hub_page("spawn.html", spawner_options_form=PAGES["full"].html, url="/hub/spawn", **variables)
    (alert,) = (element for element in page.elements if element.attributes.get("role") == "alert")
    assert shown in alert.text
    assert hidden not in page.html[page.html.index('role="alert"') : page.html.index("<form")]


def test_f2_an_admin_is_told_whose_workspaces_these_are() -> None:
    for_user = SimpleNamespace(name="bob <b>", spawner=None)
    page = hub_page("spawn.html", spawner_options_form="", url="", for_user=for_user)
    assert "These are the workspaces of bob <b>." in page.one("p", **{"class": "wm-note"}).text


def test_f2_progress_has_a_name_and_says_its_steps() -> None:
    page = hub_page(HUB_PAGES["pending"][0], **HUB_PAGES["pending"][1])
    bar = page.one("div", role="progressbar")
    assert page.one("h1", id=str(bar.attributes["aria-labelledby"])).text == "Starting your workspace"
    assert page.all("p", role="status")
    assert page.one("div", role="alert").attributes["id"] == "wm-failed"
    assert "Your files are safe, also if you close this page." in page.text
    assert "Workspace: Title of cardio-outcomes" in page.one("main").text
    assert page.one("title").text.strip() == "Starting Title of cardio-outcomes · JupyterHub"
    assert page.html.count("new EventSource(") == 1  # the hub's own script is replaced


@pytest.mark.parametrize(("version", "offered"), [((4, 0, 2), False), ((5, 3, 9), False), ((5, 4, 0), True)], ids=str)
def test_f2_start_can_be_cancelled_where_the_hub_can_interrupt_it(
    version: tuple[int, ...], offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Home is a click away in any case: it is in the bar at the top."""
    monkeypatch.setattr(jupyterhub, "version_info", version)
    spawner = WorkspaceSpawner.__new__(WorkspaceSpawner)  # without a client of the API, which a page has no need of
    page = hub_page("spawn_pending.html", progress_url="/progress", spawner=spawner)
    assert [button.text for button in page.all("button", id="stop-server-btn")] == ["Cancel the start"] * offered


@pytest.mark.parametrize(("name", "back"), [("", "/hub/spawn/carol"), ('a"</script>b', "/hub/home")], ids=repr)
def test_f1_progress_page_of_any_server(name: str, back: str) -> None:
    spawner = SimpleNamespace(name=name, title=HOSTILE, cancellable=True)
    page = hub_page("spawn_pending.html", progress_url='/"</script><img>', spawner=spawner)
    assert [image.attributes["alt"] for image in page.all("img")] == ["JupyterHub logo"]
    assert page.one("a", id="wm-back").attributes["href"] == back


@pytest.mark.parametrize(
    "message",
    [BackendUnavailable("cause").user_message, "The node is full.", None, HOSTILE],
    ids=["ours", "another's", "none", "hostile"],
)
def test_a4_a_failed_start_says_that_nothing_is_lost_and_leads_back(message: str | None) -> None:
    page = hub_page("not_running.html", failed=True, spawn_url="/hub/spawn/carol", failed_message=message)
    assert page.one("main").text.count(FILES_ARE_KEPT) == 1
    assert (message or "Something went wrong") in page.one("div", role="alert").text
    assert page.one("a", id="start", href="/hub/spawn/carol").text == "Back to workspaces"


@pytest.mark.parametrize("name", ["spawn", "stopped"])
def test_f2_pages_tell_what_became_of_a_server(name: str) -> None:
    template, values = HUB_PAGES[name]
    news = "Your workspace has ended."
    page = hub_page(template, **values, news=news)
    assert page.one("p", **{"class": "wm-note"}).text == "Your workspace has ended."


def test_a4_an_error_says_once_what_to_do() -> None:
    """What does not help is not asked for beside it."""
    message = f"This service is not set up right. {FILES_ARE_KEPT} Trying again does not help."
    text = hub_page("error.html", status_code=500, status_message="", message=message).one("main").text
    assert (text.count(FILES_ARE_KEPT), "Please try again" in text) == (1, False)


@pytest.mark.parametrize(
    ("status", "message", "heading", "sentence"),
    [
        (
            403,
            "Action is not authorized with current scopes; requires any of [x]",
            "You do not have access",
            "Error 403: A",
        ),
        (403, "This workspace is not open to you.", "You do not have access", "This workspace is not open to you."),
        (404, None, "This page does not exist", "Error 404"),
        (429, "Active user limit exceeded.", "Too many people", "Active user limit exceeded."),
        (503, "", "The service is not available right now", FILES_ARE_KEPT),
        (418, HOSTILE, "Something went wrong", HOSTILE),
    ],
    ids=["403 of the hub", "403", "404", "429", "503", "hostile"],
)
def test_a4_error_pages_are_calm_and_lead_back(status: int, message: str | None, heading: str, sentence: str) -> None:
    page = hub_page("error.html", status_code=status, status_message=message, message=message)
    assert page.one("h1", **{"class": "wm-title"}).text.startswith(heading)
    assert sentence in " ".join(page.one("main").text.split())
    assert page.one("a", **{"class": "wm-button", "href": "/hub/home"}).text == "Back to your workspaces"
    assert "None" not in page.one("main").text


def test_a4_a_visitor_who_is_not_signed_in_is_led_to_sign_in() -> None:
    page = hub_page("error.html", status_code=404, status_message=None, message=None, user=None)
    assert page.one("a", **{"class": "wm-button"}).attributes["href"] == "/hub/login"
    assert "moons" not in hub_page("404.html", status_code=404, message=None).text


# Other languages


class Marked(gettext.NullTranslations):
    """Says everything in marks."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, one: str, many: str, count: int) -> str:
        return f"⟦{one if count == 1 else many}⟧"


def unmarked(text: str) -> list[str]:
    """The words that are in no marks."""
    while (shorter := re.sub(r"⟦[^⟦⟧]*⟧", " ", text)) != text:
        text = shorter
    return re.findall(r"[A-Za-zÄ-ü]{2,}", text)


DATA = {"title": "1", "description": "22 " * 200, "image": "3", "cpu": "4", "memory": "5", "folder": "6", "when": "7"}
OF_DATA = {
    *("Title", "of", "cardio", "outcomes", "JupyterHub", "carol", "HTTP", "maximum", "named", "servers", "Enter")
}


def in_every_state(template: str) -> list[Page]:
    """A page, its data of digits."""
    cards = [card(f"a-{n}", **DATA) for n in range(9)]
    later, other, closed = card("b", "future", **DATA), card("c", "future", **DATA), card("d", "expired", **DATA)
    forms = [
        Form((*cards, later, closed), sign_in_again=True, incomplete=True),
        *(
            Form(those)
            for those in ((later, closed), (closed,), (closed, replace(closed, slug="e")), (later, other), ())
        ),
        *(Form((), sign_in_again=True), None),
    ]
    notices = [*(SimpleNamespace(kind=kind, message="8") for kind in ("denied", "unavailable")), None]
    entries = [
        *(replace(RUNNING, title="1", card=cards[0], state=state) for state in ("running", "starting", "stopping")),
        *(Entry(title="1", card=each, server="", state=each.state) for each in (*cards, later, closed)),
        *(Entry(title="1", card=None, server="", state=state) for state in ("running", "stopped")),
    ]
    shown = [(form, notice) for form in forms for notice in notices]
    if template == "form":
        made = FORM.environment.overlay(cache_size=50).get_template("workspaces/form.html")
        variables = {"selected": None, "zone": UTC, "username": "9", "logout_url": ""}
        return [Page(made.render(form=form, notice=notice, **variables)) for form, notice in shown]
    states: dict[str, list[dict[str, Any]]] = {
        "home": [home(*entries, form=form, notice=notice) for form, notice in shown],
        "spawn": [
            {"spawner_options_form": form, "error_message": message, "for_user": SimpleNamespace(name="10")}
            for form in ("", '<button id="wm-start"></button>')
            for message in ("", "HTTP 429", "HTTP 500", "12")
        ],
        "error": [
            {"status_code": status, "message": message}
            for status in (400, 401, 403, 404, 405, 429, 500, 502, 503, 504, 599)
            for message in ("", "1", "maximum of 1 named servers")
        ],
        "not_running": [{"failed": failed, "implicit_spawn_seconds": 5} for failed in (False, True)],
        "spawn_pending": [{"progress_url": ""}],
    }
    return [hub_page(f"{template}.html", **variables) for variables in states[template]]


@pytest.mark.parametrize("template", ["form", *(name.removesuffix(".html") for name in NAMES if name != "page.html")])
def test_every_word_is_in_the_catalogue(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those in scripts, and those for screen readers alone."""
    monkeypatch.setattr(texts, "_catalogue", Marked())
    monkeypatch.setitem(globals(), "HUB", HUB.overlay(cache_size=50))
    for page in in_every_state(template):
        _, opening, inside = page.html.rpartition("<main")
        main = opening + inside.partition("</main>")[0]
        shown = [Page(main).text, *(each.text for each in page.all("title"))]
        shown += [
            value or "" for each in Page(main).elements for key, value in each.attributes.items() if key == "aria-label"
        ]
        scripts = [each.text for each in page.all("script")]
        shown += [text for script in scripts for text in re.findall(r'"([A-Z][a-z]+ [^"]*|[A-Z][a-z]+…?)"', script)]
        assert {word for text in shown for word in unmarked(text)} - OF_DATA == set()


@pytest.mark.parametrize("language", ["de", "cy"])
def test_language_of_what_we_say_is_told(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To those who hear it."""
    monkeypatch.setitem(globals(), "HUB", HUB.overlay(cache_size=50))
    texts.use(language)
    try:
        page = hub_page("home.html", **home(RUNNING, STOPPED[1], *RESTING))
    finally:
        texts.use("en")
    assert page.one("main").attributes["lang"] == language
    assert page.one("footer", **{"class": "wm-footer"}).attributes["lang"] == language
    assert page.one("h1", **{"class": "wm-title"}).text in {"Ihre Arbeitsbereiche", "Eich mannau gwaith"}

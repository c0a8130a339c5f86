"""The sentences that people read, and their translations."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from markupsafe import Markup

from tests import texts as kept
from workspace_managers import errors, texts
from workspace_managers.errors import FILES_ARE_KEPT, AccessDenied, WorkspaceManagerError
from workspace_managers.hub import outlook, waiting
from workspace_managers.quantities import cores_in_words
from workspace_managers.texts import N_, _, ngettext

FILES = {file.parts[-3]: file for file in kept.translations()}
TRANSLATIONS = {language: kept.read(file) for language, file in FILES.items()}
CODE = Path(texts.__file__).parent
every_language = pytest.mark.parametrize("language", FILES)


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    yield
    texts.use("en")


def said(catalogue: Catalog) -> dict[Any, Any]:
    """Each sentence, or pair of singular and plural, with what it is in the language."""
    return {message.id: message.string for message in catalogue if message.id}


def ids(catalogue: Catalog) -> set[Any]:
    return set(said(catalogue))


# The catalogues


def test_catalogues_have_what_the_code_has() -> None:
    """`make texts` writes them."""
    current = kept.in_the_code()
    assert kept.TEMPLATE.read_bytes() == kept.as_text(current)
    assert {language: ids(found) for language, found in TRANSLATIONS.items()} == dict.fromkeys(FILES, ids(current))
    assert {"de", "cy"} <= FILES.keys()


@every_language
def test_what_is_shipped_is_made_of_the_translations(language: str) -> None:
    assert FILES[language].with_suffix(".mo").read_bytes() == kept.compiled(TRANSLATIONS[language])


@every_language
def test_everything_is_translated_with_its_places(language: str) -> None:
    catalogue = TRANSLATIONS[language]
    assert [message.id for message, problems in catalogue.check() if problems] == []
    for message, string in said(catalogue).items():
        forms = string if isinstance(string, tuple) else (string,)
        assert all(forms), message
        places = [set(re.findall(r"\{\w+\}", form)) for form in (message if isinstance(message, tuple) else (message,))]
        assert all(set(re.findall(r"\{\w+\}", form)) in places for form in forms), message


@every_language
def test_files_are_kept_is_said_in_the_same_words_everywhere(language: str) -> None:
    """Pages look for that sentence in others."""
    translated = said(TRANSLATIONS[language])
    found = [message for message in translated if isinstance(message, str) and FILES_ARE_KEPT in message]
    assert len(found) > 20
    assert [message for message in found if translated[FILES_ARE_KEPT] not in translated[message]] == []


def test_sentences_that_are_kept_for_later_are_in_the_catalogue() -> None:
    known = ids(kept.in_the_code())
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    causes = [each for each in vars(waiting).values() if isinstance(each, waiting.Cause)]
    kept_for_later = [
        *(kind.default_user_message for kind in kinds if issubclass(kind, WorkspaceManagerError)),
        *(getattr(cause, name.name) for cause in causes for name in fields(cause) if name.name != "word"),
        *waiting._STEPS.values(),
        *outlook._ENDED.values(),
        outlook._WITHDRAWN,
    ]
    assert len(kept_for_later) > 35
    assert [sentence for sentence in kept_for_later if sentence not in known] == []


def test_no_sentence_is_given_to_a_person_that_is_in_no_catalogue() -> None:
    found = [
        f"{file.name}:{node.lineno}"
        for file in CODE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword)
        and node.arg == "user_message"
        and isinstance(node.value, ast.Constant | ast.JoinedStr)
        and not (isinstance(node.value, ast.Constant) and node.value.value is None)
    ]
    assert found == []


# Saying them


def test_error_is_said_in_the_language_of_the_site() -> None:
    texts.use("de")
    assert AccessDenied("cause").user_message.startswith("Dieser Arbeitsbereich ist nicht für Sie offen.")
    assert str(AccessDenied("cause")) == "cause"
    assert AccessDenied("cause", user_message="Of a plugin.").user_message == "Of a plugin."
    assert outlook.duration(7260) == "2 Stunden"
    texts.use("cy")
    assert [cores_in_words(text) for text in ("1", "2", "500m", "8")] == [
        "1 craidd",
        "2 graidd",
        "0.5 craidd",
        "8 craidd",
    ]
    assert [outlook.duration(60 * n) for n in (1, 2, 5)] == ["1 munud", "2 funud", "5 munud"]


def test_language_is_as_html_has_it() -> None:
    assert texts.language() == "en"
    texts.use("de_AT")
    assert texts.language() == "de-AT"
    assert _("Stop") == "Anhalten"  # as a catalogue of the language, where the country has none


def test_markup_among_the_values_makes_markup_and_the_rest_is_escaped() -> None:
    assert _("Open {title}", title="<b>") == "Open <b>"
    made = _("Running since {time}", time=Markup("<time>9:40</time>"))
    assert (type(made), made) == (Markup, "Running since <time>9:40</time>")
    made = _("Stop {other} and start {title}", other="<b>", title=Markup("<i>x</i>"))
    assert made == "Stop &lt;b&gt; and start <i>x</i>"
    assert _("{title} {title.__class__} {}", title=Markup("<i>")) == "<i> {title.__class__} {}"


def site(folder: Path, language: str, **sentences: str) -> Path:
    catalogue = Catalog(locale=language)
    for message, string in sentences.items():
        catalogue.add(message, string)
    file = folder / language / "LC_MESSAGES" / f"{texts.DOMAIN}.mo"
    file.parent.mkdir(parents=True)
    file.write_bytes(kept.compiled(catalogue))
    return folder


def test_catalogue_of_a_site_comes_first_and_ours_says_the_rest(tmp_path: Path) -> None:
    texts.use("de", site(tmp_path, "de", Stop="Beenden"))
    assert (_("Stop"), _("Cancel")) == ("Beenden", "Abbrechen")
    texts.use("en", site(tmp_path, "en", Stop="Shut down"))
    assert (_("Stop"), _("Cancel"), texts.languages(tmp_path)) == ("Shut down", "Cancel", ["cy", "de", "en"])
    texts.use("fr", site(tmp_path, "fr", Stop="Arrêter"))
    assert (_("Stop"), _("Cancel"), texts.languages(tmp_path)) == ("Arrêter", "Cancel", ["cy", "de", "en", "fr"])


@pytest.mark.parametrize("wrong", ["{tittle} stoppen", "{0} stoppen", "{title} {x}"])
def test_place_that_a_catalogue_of_a_site_gets_wrong_is_no_error(tmp_path: Path, wrong: str) -> None:
    texts.use("de", site(tmp_path, "de", **{"Stop {title}": wrong}))
    assert _("Stop {title}", title="Heart") == "Stop Heart"


def test_sentences_about_numbers() -> None:
    assert [ngettext("{count} hour", "{count} hours", n) for n in (1, 2)] == ["1 hour", "2 hours"]
    assert N_("Stop") == "Stop"


def test_catalogue_is_gettexts_own() -> None:
    """So that any tool for it does."""
    with FILES["de"].with_suffix(".mo").open("rb") as opened:
        assert gettext.GNUTranslations(opened).gettext("Stop") == "Anhalten"

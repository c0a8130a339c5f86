"""The sentences that people read, each from one catalogue, in the language of the site (gettext).

In the code they stand in English, as ``_("...")`` where they are said and ``N_("...")`` where they are kept to be said
later. What is in no catalogue, such as a sentence of a plugin's own, is said as it stands. Logs, the audit and what
operators are told on the command line stay English.
"""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterable
from pathlib import Path

from markupsafe import Markup, escape

DOMAIN = "workspace_managers"
"""The name of a catalogue's file, ``LANGUAGE/LC_MESSAGES/workspace_managers.mo``."""
ENGLISH = "en"
_PLACE = re.compile(r"\{(\w+)\}", re.ASCII)
OURS = Path(__file__).parent / "locale"

_catalogue: gettext.NullTranslations = gettext.NullTranslations()
_language = ENGLISH


def use(language: str, folder: Path | None = None) -> None:
    """Say everything in a language from now on.

    Args:
        language: One of ``languages(folder)``.
        folder: Of catalogues of a site's own; what these do not have is said as in ours, or in English.
    """
    global _catalogue, _language
    _catalogue, _language = catalogue(language, folder), language


def catalogue(language: str, folder: Path | None = None) -> gettext.NullTranslations:
    """Read what there is in a language.

    Raises:
        OSError, ValueError: A file of a site's own cannot be read.
    """
    ours = gettext.translation(DOMAIN, OURS, [language], fallback=True)
    if folder is None or not _file(folder, language):
        return ours
    theirs = gettext.translation(DOMAIN, folder, [language])
    theirs.add_fallback(ours)
    return theirs


def language() -> str:
    """The language in use, as an HTML ``lang`` has it."""
    return _language.replace("_", "-")


def languages(folder: Path | None = None) -> list[str]:
    """Every language that there is a catalogue of, and English.

    Args:
        folder: Of catalogues of a site's own.
    """
    folders: Iterable[Path] = (OURS, folder) if folder else (OURS,)
    return sorted({ENGLISH, *(each.name for every in folders for each in every.iterdir() if _file(every, each.name))})


def _file(folder: Path, language: str) -> bool:
    return (folder / language / "LC_MESSAGES" / f"{DOMAIN}.mo").is_file()


def N_(message: str) -> str:
    """Mark a sentence that is said later."""
    return message


def _(message: str, **values: object) -> str:
    """Say a sentence.

    Args:
        message: In English, with places such as ``{title}``.
        values: What stands there. Where one of them is markup, so is the sentence, and all the rest is escaped.
    """
    said = _catalogue.gettext(message)
    return _filled(said, message, values) if values else said


def ngettext(one: str, many: str, count: int, **values: object) -> str:
    """Say a sentence about a number of things, which stands at ``{count}``."""
    english = one if count == 1 else many
    return _filled(_catalogue.ngettext(one, many, count), english, {"count": count, **values})


def _filled(said: str, english: str, values: dict[str, object]) -> str:
    # A catalogue of a site's own may have a place that nothing belongs to.
    text = said if values.keys() >= set(_PLACE.findall(said)) else english
    if any(hasattr(value, "__html__") for value in values.values()):
        return Markup(_PLACE.sub(lambda place: escape(values[place[1]]), str(escape(text))))  # noqa: S704 - all is escaped
    return _PLACE.sub(lambda place: str(values[place[1]]), text)

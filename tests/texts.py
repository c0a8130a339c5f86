"""``make texts``: the catalogues of the sentences, brought up to what stands in the code.

    python -m tests.texts

What is new in the code is new in each ``.po``, without a translation; what is gone goes. The ``.mo`` are made of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from workspace_managers import texts

ROOT = Path(__file__).parents[1]
TEMPLATE = texts.OURS / f"{texts.DOMAIN}.pot"
# In place of that of each run, which would be a change of its own.
_WHEN = datetime(2026, 1, 1, tzinfo=UTC)
_SOURCES = (("workspace_managers", "python", "**.py"), ("templates", "jinja2", "**.html"))


def in_the_code() -> Catalog:
    """Every sentence that is marked in the code."""
    found = Catalog()
    for folder, kind, pattern in _SOURCES:
        options = {pattern: {"silent": "false"}}
        for *_, message, comments, _context in extract_from_dir(ROOT / folder, [(pattern, kind)], options_map=options):
            found.add(message, auto_comments=comments)
    return found


def translations() -> Iterator[Path]:
    """The file of each language."""
    return texts.OURS.glob(f"*/LC_MESSAGES/{texts.DOMAIN}.po")


def read(file: Path) -> Catalog:
    """A language's sentences."""
    with file.open("rb") as opened:
        return read_po(opened, locale=file.parts[-3])


def as_text(catalogue: Catalog) -> bytes:
    """A catalogue as it is kept."""
    catalogue.project, catalogue.version, catalogue.fuzzy = "jupyterhub-workspace-managers", "1", False
    catalogue.header_comment = (
        "# The sentences that people read. `make texts` keeps this up to what stands in the code."
    )
    catalogue.creation_date = catalogue.revision_date = _WHEN
    catalogue.msgid_bugs_address = catalogue.last_translator = catalogue.language_team = ""
    made = io.BytesIO()
    write_po(made, catalogue, width=110, sort_output=True, ignore_obsolete=True)
    return made.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """A language's sentences as ``gettext`` reads them."""
    made = io.BytesIO()
    write_mo(made, read_po(io.BytesIO(as_text(catalogue)), locale=catalogue.locale))
    return made.getvalue()


def main() -> None:
    """Write them all."""
    current = in_the_code()
    TEMPLATE.write_bytes(as_text(current))
    for file in translations():
        catalogue = read(file)
        catalogue.update(current, no_fuzzy_matching=True)
        file.write_bytes(as_text(catalogue))
        file.with_suffix(".mo").write_bytes(compiled(catalogue))


if __name__ == "__main__":
    main()

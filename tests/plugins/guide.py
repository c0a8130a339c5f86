"""The page ``docs/writing-a-plugin.md``, block by block.

Always true here: each fenced block of the page is of a kind below, so that none can be there that nothing tries. A
block of ``sh`` is run; so is ``sh fails``, and has to fail; ``text`` is what the block before it prints, a line or
more; a block with a path is the file of that path; ``python`` without one is a declaration of a contract class.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-plugin.md"
KINDS = ("sh", "sh fails", "text", "python")


@dataclass(frozen=True)
class Block:
    """One block.

    Attributes:
        kind: One of ``KINDS``.
        path: The file that the block is; empty where it is none.
        text: What is in it.
        line: Where it begins.
    """

    kind: str
    path: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in order.

    Raises:
        ValueError: A block is of no kind that is tried.
    """
    for fence in re.finditer(r"^```(.*)\n((?:.*\n)*?)```$", page, re.MULTILINE):
        info, line = fence[1], page[: fence.start()].count("\n") + 1
        kind, _, path = (info, "", "") if info in KINDS else info.partition(" ")
        if kind not in KINDS:
            raise ValueError(f"line {line}: nothing tries a block of {info!r}")
        yield Block(kind, path, fence[2], line)

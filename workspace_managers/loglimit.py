"""Log lines at a bounded rate, for what somebody else may cause without end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from time import monotonic

LINES_PER_MINUTE = 20
LINES_PER_SUBJECT = 5


class LogLimit:
    """Writes to a log at most 20 lines a minute, and of these at most 5 about one subject.

    A resource that is changed every second thus neither floods the log nor keeps others out of it. How many lines were
    left out is written before the next one of a later minute.

    Args:
        log: Where to write.
        clock: Seconds that only go forward.
    """

    def __init__(self, log: logging.Logger, *, clock: Callable[[], float] = monotonic) -> None:
        self._log = log
        self._clock = clock
        self._minute = float("-inf")
        self._lines: Counter[str] = Counter()
        self._left_out = 0

    def write(self, level: int, subject: str, message: str, *arguments: object) -> None:
        """Write a line, or leave it out.

        Args:
            level: Of the ``logging`` module.
            subject: What the line is about, such as a resource's name.
            message: As ``logging`` takes it, with its arguments.
        """
        now = self._clock()
        if now - self._minute >= 60:
            left_out, self._left_out = self._left_out, 0
            self._minute = now
            self._lines.clear()
            if left_out:
                self._log.log(level, "%d lines like the next one were left out", left_out)
        if self._lines.total() >= LINES_PER_MINUTE or self._lines[subject] >= LINES_PER_SUBJECT:
            self._left_out += 1
            return
        self._lines[subject] += 1
        self._log.log(level, message, *arguments)

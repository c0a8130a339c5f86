"""Lines in a plot, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 30, 50


@dataclass(frozen=True, slots=True)
class Axis:
    """One of the two.

    Attributes:
        name: What it has, with the unit.
        ticks: Where it is marked, from its least to its most.
        powers: Whether equal steps are equal factors.
    """

    name: str
    ticks: Sequence[float]
    powers: bool = False

    def place(self, value: float) -> float:
        """From 0 to 1."""
        least, most, at = self.ticks[0], self.ticks[-1], value
        if self.powers:
            least, most, at = math.log10(least), math.log10(most), math.log10(value)
        return (at - least) / (most - least)


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        name: Written at its end.
        colour: As CSS has it.
        points: Pairs of values.
        dashed: Whether it is.
        marked: Whether each point is a dot.
    """

    name: str
    colour: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False
    marked: bool = True


def plot(title: str, across: Axis, up: Axis, lines: Sequence[Line]) -> str:
    """The picture.

    Args:
        title: What a reader who cannot see it is told.
        across: The horizontal axis.
        up: The vertical one.
        lines: What is drawn.
    """

    def x(value: float) -> float:
        return _LEFT + across.place(value) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (1 - up.place(value)) * (HEIGHT - _TOP - _BOTTOM)

    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f"<title>{title}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="18">{up.name}</text>',
        f'<text x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{across.name}</text>',
    ]
    for tick in up.ticks:
        parts.append(f'<path d="M{_LEFT} {y(tick):.0f}H{WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick) + 4:.0f}" text-anchor="end">{tick:g}</text>')
    for tick in across.ticks:
        parts.append(f'<text x="{x(tick):.0f}" y="{HEIGHT - 32}" text-anchor="middle">{tick:,.10g}</text>')
    for line in lines:
        places = [(x(right), y(high)) for right, high in line.points]
        drawn = " ".join(f"{right:.1f},{down:.1f}" for right, down in places)
        dash = ' stroke-dasharray="6 4"' if line.dashed else ""
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>')
        if line.marked:
            parts += [
                f'<circle cx="{right:.1f}" cy="{down:.1f}" r="3.5" fill="{line.colour}"/>' for right, down in places
            ]
        right, down = places[-1]
        parts.append(f'<text x="{right + 8:.1f}" y="{down + 4:.1f}" fill="{line.colour}">{line.name}</text>')
    return "\n".join([*parts, "</svg>", ""])

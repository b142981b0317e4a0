"""The results of a bench as LaTeX: a table (booktabs) and performance profiles (pgfplots).

Each file is a document that compiles alone, without other files. A paper that has `\\usepackage{standalone}` and the
packages named at the top of the file can `\\input` it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from nnspec.results.bench import BenchResult, Measure
from nnspec.statistics.profiles import Profile
from nnspec.text import printable
from nnspec.view.axes import round_numbers
from nnspec.view.palette import PALETTE, dash_of, slots
from nnspec.view.wording.bench import SHOWN, Grid, banded, figures, head, steps

__all__ = ["escaped", "profile_latex", "step_points", "table_latex"]

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


_POWER = re.compile(r"\b(\d+(?:\.\d+)?)e([+-]\d+)\b")
"""A number like 2.2e-04."""


def escaped(text: str) -> str:
    """Return a text so that LaTeX prints it as it is; control characters as escapes."""
    return "".join(_ESCAPES.get(char, char) for char in printable(text))


def table_latex(result: BenchResult) -> str:
    """Return the table of final figures and of steps to the target, the best of each row in bold."""
    grids = [figures(result, targets=True), steps(result)]
    columns = "ll" + "r" * len(result.names)
    lines = [
        *_top(result, r"\usepackage{booktabs}", r"\usepackage[T1]{fontenc}"),
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row(grids[0].head),
    ]
    for grid in grids:
        lines += [
            r"\midrule",
            rf"\multicolumn{{{len(columns)}}}{{l}}{{\emph{{{escaped(grid.title)}; bold: the best}}}} \\",
            *_body(grid),
        ]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{document}", ""])


def _top(result: BenchResult, *packages: str) -> list[str]:
    return [
        f"% {printable(head(result))}, by nnspec {printable(result.version)}",
        r"% In a paper with \usepackage{standalone} and the packages below: \input{this file}",
        r"\documentclass[border=2mm]{standalone}",
        *packages,
        r"\begin{document}",
    ]


def _body(grid: Grid) -> Iterator[str]:
    for row, best in zip(grid.rows, grid.best, strict=True):
        yield _row(row, best)


def _row(cells: Sequence[str], bold: frozenset[int] = frozenset()) -> str:
    shown = [rf"{{\bfseries\boldmath {_cell(cell)}}}" if i in bold else _cell(cell) for i, cell in enumerate(cells)]
    return " & ".join(shown) + r" \\"


def _cell(text: str) -> str:
    return _POWER.sub(lambda found: rf"{found[1]}$\times10^{{{int(found[2])}}}$", escaped(text))


def profile_latex(result: BenchResult) -> str:
    """Return the performance profiles over steps and over seconds, with bands, as axes of pgfplots."""
    places = slots(dict.fromkeys(result.names, 0.0))
    used = [(name, place) for name, place in places.items()]
    lines = _top(
        result,
        r"\usepackage{pgfplots}",
        r"\usepgfplotslibrary{groupplots}",
        r"\pgfplotsset{compat=1.16}",
        *(rf"\definecolor{{lane{place}}}{{HTML}}{{{PALETTE[place].lstrip('#').upper()}}}" for _, place in used),
    )
    lines += [
        r"\begin{tikzpicture}",
        r"\begin{groupplot}[",
        f"  group style={{group size={len(SHOWN)} by 1, ylabels at=edge left}},",
        "  xmode=log, log basis x=2, log ticks with fixed point, xmin=1, ymin=0, ymax=1.02,",
        r"  ylabel={share of the problems}, grid=major, width=8cm, height=6cm,",
        r"  legend style={font=\footnotesize, draw=none, at={(0,1.03)}, anchor=south west, legend columns=6},",
        r"  legend cell align=left]",
    ]
    for measure in SHOWN:
        lines += [*_axis(result, measure, places, legend=measure == SHOWN[0])]
    return "\n".join([*lines, r"\end{groupplot}", r"\end{tikzpicture}", r"\end{document}", ""])


def _axis(result: BenchResult, measure: Measure, places: dict[str, int], *, legend: bool) -> Iterator[str]:
    taus = result.taus(measure)
    end = last_tau(result, measure)
    ticks = ",".join(f"{tick:g}" for tick in round_numbers(1.0, end, 6, log=True))
    label = rf"$\tau$: at most $\tau$ times the {measure} of the fastest"
    yield rf"\nextgroupplot[xmax={end:.6g}, xtick={{{ticks}}}, xlabel={{{label}}}]"
    shown = banded(result)
    for profile, band in zip(result.profiles(measure), result.bands(measure), strict=True):
        if profile.contestant in shown:
            low, high = step_points(taus, band.low, end), step_points(taus, band.high, end)
            outline = _coordinates([*high, *reversed(low)])
            color = f"lane{places[profile.contestant]}" if profile.contestant in places else "gray"
            style = f"draw=none, fill={color}, fill opacity=0.12, forget plot"
            yield rf"\addplot[{style}] coordinates {{{outline}}} -- cycle;"
    for profile in result.profiles(measure):
        place = places.get(profile.contestant)
        style = "gray" if place is None else f"lane{place}{', dashed' if dash_of(place) else ''}"
        points = _coordinates(step_points(taus, shares(profile, taus), end))
        yield rf"\addplot[{style}, very thick] coordinates {{{points}}};"
        if legend:
            yield rf"\addlegendentry{{{escaped(profile.contestant)}}}"


def shares(profile: Profile, taus: Sequence[float]) -> list[float]:
    """Return ρ at each τ."""
    return [profile.share(tau) for tau in taus]


def last_tau(result: BenchResult, measure: Measure) -> float:
    """Return the end of the axis of τ: a little to the right of the last step of a curve, and at least 2."""
    return max(2.0, 1.15 * max(result.taus(measure), default=1.0))


def step_points(taus: Sequence[float], values: Sequence[float], end: float) -> list[tuple[float, float]]:
    """Return the corners of a curve that is constant between the τ at which it rises, up to the `end` of the axis."""
    points: list[tuple[float, float]] = []
    for tau, value in zip(taus, values, strict=True):
        if points:
            points.append((tau, points[-1][1]))
        points.append((tau, value))
    return [*points, (max(end, points[-1][0]), points[-1][1])] if points else []


def _coordinates(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"({x:.6g},{y:.6g})" for x, y in points)

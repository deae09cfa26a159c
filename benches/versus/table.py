"""The table of a comparison, in Markdown."""

import os
from datetime import date

from proxies import output


class Table:
    """Rows as they are measured; a column for each proxy, the first Tidegate's figures judged."""

    def __init__(self):
        self.proxies = []
        self.faults = []
        self.lines = []
        self.load_before = os.getloadavg()[0]

    def row(self, scenario, figures):
        """What `tidegate bench` has shown."""
        self.add(scenario.title, scenario.unit, map(cell, figures), self.judged(scenario, figures))

    def note(self, title, cells, bound, is_met):
        """What was read otherwise; `is_met` is asked with the place of Tidegate's column."""
        self.add(title, "", cells, ["", bound, met(is_met(self.ours()))])

    def add(self, title, unit, cells, verdict):
        self.lines.append("| " + " | ".join([title, unit, *cells, *verdict]) + " |")

    def text(self, took_seconds, quick):
        """The whole table, under a line that says where and when."""
        names = [proxy.name for proxy in self.proxies]
        versions = ", ".join(f"{proxy.name} {proxy.version()}" for proxy in self.proxies)
        lines = [
            f"{date.today()}, {os.cpu_count()} cores, {output('uname', '-sr')}; {versions}; "
            f"{'quick, ' if quick else ''}{took_seconds / 60:.0f} min; load average "
            f"{self.load_before:.1f} before, {os.getloadavg()[0]:.1f} after",
            "",
            "| scenario | unit | " + " | ".join(names) + " | ratio | at most | |",
            "|---|---|" + "---|" * (len(names) + 3),
            *self.lines,
        ]
        return "\n".join(lines + [f"\nfault: {fault}" for fault in self.faults])

    def judged(self, scenario, figures):
        """Ratio, bound and verdict."""
        ours = middle(figures[self.ours()])
        if not scenario.at_most or ours is None:
            return "", "", ""
        if not scenario.rival:
            return "", f"{scenario.at_most:,}", met(ours <= scenario.at_most)
        by_name = dict(zip((proxy.name for proxy in self.proxies), figures, strict=True))
        rival = middle(by_name.get(scenario.rival))
        bound = f"{scenario.at_most:.2f} x {scenario.rival}"
        if not rival:
            return "", bound, "no rival here"
        return f"{ours / rival:.2f}", bound, met(ours / rival <= scenario.at_most)

    def ours(self):
        """The place of Tidegate's column."""
        return [proxy.name for proxy in self.proxies].index("Tidegate")


def met(is_met):
    return "met" if is_met else "**not met**"


def middle(figure):
    return figure["median"] if isinstance(figure, dict) else figure


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 20:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.3f}"


def cell(figure):
    if figure is None:
        return "–"
    if not isinstance(figure, dict):
        return number(figure)
    low, high = number(figure["min"]), number(figure["max"])
    return f"{number(figure['median'])} [{low} .. {high}]"

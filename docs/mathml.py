"""Turns formulae into MathML while the site is built: pages need no script and no network."""

import html
import re

from latex2mathml.converter import convert

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def _mathml(match: re.Match) -> str:
    display = "block" if match[2] == "[" else "inline"
    formula = re.sub(r"\\tag\{(.*?)\}", r"\\qquad\\text{(\1)}", html.unescape(match[3]).strip())
    return convert(formula, display=display)


def on_page_content(content: str, **_) -> str:
    """The page with every formula as MathML (called by mkdocs)."""
    return _FORMULA.sub(_mathml, content)

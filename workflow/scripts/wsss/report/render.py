"""The pages' templates, in `templates/` beside this file: jinja2 with autoescape, so no name of a user becomes markup."""

import functools
from typing import Any
from urllib.parse import quote

import jinja2

from wsss.report.template_version import FOLDER

ASSETS = ("style.css", "report.js")  # copied beside the pages


def page(template: str, **facts: Any) -> str:
    """The text of one page; a fact that the template names and `facts` lacks raises jinja2.UndefinedError."""
    return _environment().get_template(template).render(**facts)


def asset(name: str) -> str:
    """The text of one of ASSETS."""
    return (FOLDER / name).read_text("utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters["path"] = quote  # a relative path as a link: `#` and spaces in it belong to the name
    return environment

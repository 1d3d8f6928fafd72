"""No page fetches anything: a script, style, picture or font from another host fails a strict build."""

import logging
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(?:https?:)?//[^>]*>|<link[^>]*href=["']?(?:https?:)?//[^>]*>"""
)
log = logging.getLogger("mkdocs.hooks.offline_check")


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001
    """Report what a reader's browser would fetch."""
    for tag in FETCHED.findall(output):
        log.warning("%s fetches %s", page.file.src_path, tag)
    return output

"""The page of an index: README.md without its links into the repository, which lead nowhere there."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_IMAGE = re.compile(r"!\[([^\]]*)\]\((?!https?:)[^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


def index_page(readme: str) -> str:
    """Return Markdown with relative images as their captions, and relative links as their texts."""
    return _LINK.sub(r"\1", _IMAGE.sub(r"*\1*", readme))


class IndexPage(MetadataHookInterface):
    """The hook that hatchling calls."""

    def update(self, metadata: dict) -> None:
        """Set the description in the metadata of the package."""
        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": index_page(readme)}

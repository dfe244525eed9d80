"""A page as one file that loads nothing: style and scripts stand in it, and its policy allows just these."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from .assets import asset_text, content_hash, joined_modules

_LIBRARY: Final = "echarts.min.js"


@dataclass(frozen=True, slots=True)
class Inlined:
    """What `layout.html.j2` writes into a file."""

    style: str
    charts: str
    modules: str

    @classmethod
    def of(cls, styles: Sequence[str], module: str) -> Self:
        """Return what a page needs.

        Args:
            styles: its style sheets, in their order.
            module: the module that draws it.
        """
        return cls("\n".join(map(asset_text, styles)), asset_text(_LIBRARY), joined_modules(module))

    @property
    def policy(self) -> str:
        """Return the page's Content-Security-Policy."""
        scripts = " ".join(content_hash(text) for text in (self.charts, self.modules))
        return (
            f"default-src 'none'; script-src {scripts}; style-src {content_hash(self.style)}; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        )

"""The style of what notebooks show: one block, scoped to its own class, for light and dark pages.

Text has the page's own colour, so that it can be read on any ground; ours are chosen to hold on both. Jupyter says its
theme on the page's body, VS Code and Colab likewise; elsewhere the system's preference counts.
"""

from typing import Final

_LIGHT: Final = "--line:#2f6fde;--bad:#c62828"
_DARK: Final = "--line:#6a9ef7;--bad:#ff7368"
_SAYS_LIGHT: Final = ("[data-jp-theme-light=true]", ".vscode-light", "html[theme=light]")
_SAYS_DARK: Final = ("[data-jp-theme-light=false]", ".vscode-dark", "html[theme=dark]")

CLASS: Final = "corevital"


def _for(pages: tuple[str, ...], colours: str) -> str:
    return f"{','.join(f'{page} .{CLASS}' for page in pages)}{{{colours}}}"


def _scoped(rules: str) -> str:
    """Return rules, one a line, each for what is within our class."""
    lines = [line.strip() for line in rules.strip().splitlines()]
    return "".join(f".{CLASS} {line}" for line in lines)


STYLE: Final = (
    f"<style>.{CLASS}{{{_LIGHT};max-width:60rem;font:13px/1.5 system-ui,sans-serif;overflow-wrap:break-word}}"
    f"@media(prefers-color-scheme:dark){{.{CLASS}{{{_DARK}}}}}{_for(_SAYS_LIGHT, _LIGHT)}{_for(_SAYS_DARK, _DARK)}"
    + _scoped("""
        p{margin:.3em 0}
        .level{padding:0 .6em;border-radius:1em;color:#fff;background:#667085;white-space:nowrap}
        .low{background:#2e7d32}
        .medium{background:#a85f00}
        .high{background:#c62828}
        table{border-collapse:collapse;margin:.3em 0;font-size:inherit}
        tr{background:0 0!important}
        td,.corevital th{padding:.1em .9em .1em 0;text-align:left!important;vertical-align:top;border:0}
        td:first-child,.corevital figcaption,.corevital summary,.corevital th{opacity:.7;white-space:nowrap}
        figcaption{white-space:normal}
        figure{margin:.4em 0}
        svg{display:block;width:100%;height:44px;background:#8881}
        path{fill:none;stroke:var(--line);stroke-width:1.5;vector-effect:non-scaling-stroke}
        .mark{stroke:var(--bad);stroke-dasharray:3 2}
        img{display:block;width:100%;max-width:100%;image-rendering:pixelated}
        .tokens{white-space:pre-wrap;font-family:ui-monospace,monospace;background:#8881;padding:.3em .6em}
        .s2{background:#e8590c38}
        .s4{background:#e8590c70}
        .s8{background:#e8590cb0}
        .bad{color:var(--bad);font-weight:600}
        .at{box-shadow:0 0 0 2px var(--bad)}
    """)
    + "</style>"
)
"""Some 1,800 characters."""

"""
Check that what the built pages link to among themselves is there: pages, pictures and places in a page.

    python docs/links.py docs/_build/html
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note links and ids."""
        known = dict(attributes)
        self.ids.update(filter(None, [known.get("id")]))
        self.links += filter(None, [known.get("href"), known.get("src")])


def broken(root: Path) -> Iterator[str]:
    """Name each link within the site that leads nowhere."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in root.resolve().rglob("*.html")}
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            has_place = not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].ids
            if not target.exists() or not has_place:
                yield f"{file.relative_to(root.resolve())}: {link}"


def main(arguments: Sequence[str]) -> int:
    """Print the broken links; return 1 if there is one."""
    found = sorted(broken(Path(arguments[0])))
    print("".join(f"broken link in {each}\n" for each in found), end="", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

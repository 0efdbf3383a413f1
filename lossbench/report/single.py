"""A report in one file: its pages, packed, with their styles and scripts, to be mailed and opened anywhere."""

from __future__ import annotations

import base64
import gzip
import html
import posixpath
import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from lossbench.errors import LossbenchError

MOST = 15 * 2**20  # bytes: what most mail servers take; pages of single records are left out where it would be more
SCRIPT = Path(__file__).parent / "static" / "single.js"

_LINK = re.compile(r'(<a\b[^>]*?)\shref="([^"]*)"')
_ASSET = re.compile(r'(<(?:link|script)\b[^>]*?\s(?:href|src)=)"(?!data:)([^"]*)"')
_ABSENT = "in the folder of the report, not in this file"


def write(folder: Path, file: Path) -> Path:
    """Put the pages of the report in *folder* into *file*; links to what is not in it become text that says so.

    Returns:
        The file.

    Raises:
        LossbenchError: It cannot be written.
    """
    texts = _reached(folder)
    packed = _packed(texts, set(texts))
    if sum(map(len, packed.values())) > MOST:
        packed = _packed(texts, {address for address in texts if not address.endswith(".records.html")})
    for name in sorted({_beside(address, found[1]) for address in packed for found in _ASSET.findall(texts[address])}):
        packed[name] = base64.b64encode((folder / name).read_bytes()).decode()
    try:
        file.write_text("".join(_file(folder, texts["index.html"], packed)), encoding="utf-8")
    except OSError as error:
        raise LossbenchError(f"{file}: the report cannot be written ({error.strerror}); name another file") from None
    return file


def _reached(folder: Path) -> dict[str, str]:
    """The text of each page that links from the index lead to, by its address in the folder."""
    found: dict[str, str] = {}
    waiting = ["index.html"]
    while waiting:
        address = waiting.pop(0)
        if address in found or address.startswith("..") or not address.endswith(".html"):
            continue
        if (folder / address).is_file():
            found[address] = (folder / address).read_text(encoding="utf-8")
            waiting += [_beside(address, link) for _, link in _LINK.findall(found[address])]
    return found


def _beside(address: str, link: str) -> str:
    """The address in the folder that a link on the page at *address* leads to."""
    path = unquote(html.unescape(link)).partition("#")[0]
    return posixpath.normpath(posixpath.join(posixpath.dirname(address), path)) if path else address


def _packed(texts: Mapping[str, str], chosen: Collection[str]) -> dict[str, str]:
    """The *chosen* pages, with links that lead from one to another within a single file."""
    found = {}
    for address, text in texts.items():
        if address in chosen:
            linked = _LINK.sub(partial(_link, address=address, chosen=chosen), text)
            inside = _ASSET.sub(partial(_asset, address=address), linked)
            found[address] = base64.b64encode(gzip.compress(inside.encode(), mtime=0)).decode()
    return found


def _link(link: re.Match[str], address: str, chosen: Collection[str]) -> str:
    """A link as it is within the file: `?<page>#<place>`, with what the page is in place of its path."""
    if re.match(r"[a-z]+:|#", link[2]):
        return link[0]
    to, place = _beside(address, link[2]), link[2].partition("#")[1:]
    return f'{link[1]} href="?{to}{"".join(place)}"' if to in chosen else f'{link[1]} title="{to}: {_ABSENT}"'


def _asset(link: re.Match[str], address: str) -> str:
    """A style or a script by its place in the file, from which the address of its text is made."""
    return f'{link[1]}"inside:{_beside(address, link[2])}"'


def _file(folder: Path, index: str, packed: Mapping[str, str]) -> list[str]:
    """The lines of the file; where no scripts run, the index is there to be read."""
    title = index[index.index("<title>") : index.index("</title>")] + "</title>"
    body = index[index.index("<body>") + len("<body>") : index.index("</body>")]
    style = (folder / "static" / "report.css").read_text(encoding="utf-8")
    plain = _LINK.sub(lambda link: link[0] if re.match(r"[a-z]+:|#", link[2]) else link[1], body)
    said = "Without scripts this file shows its first page alone."
    return [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        f'{title}\n<link rel="icon" href="data:,">\n<noscript><style>{style}</style></noscript>\n</head>\n<body>\n',
        f"<noscript><p><strong>{said}</strong></p>{plain}</noscript>\n",
        *(f'<script type="text/plain" id="{html.escape(name)}">{text}</script>\n' for name, text in packed.items()),
        f"<script>\n{SCRIPT.read_text(encoding='utf-8')}</script>\n</body>\n</html>\n",
    ]

"""The pages users read, and the snippets in them.

`<!-- not run: reason -->` on the line before a snippet keeps it from being run; it is checked all the same.
`<!-- file: NAME -->` there makes it a file that the page's commands find.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "client/README.md", "compose/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
#: What is only looked at: output, trees of folders, HTTP as it is sent, pictures.
LOOKED_AT = {"text", "mermaid"}
_FENCE = re.compile(
    r"^(?:<!-- (?P<what>not run|file): (?P<said>[^\n]+) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Snippet:
    page: Path
    line: int
    kind: str
    text: str
    #: Why it is not run; empty when it is.
    reason: str = ""
    #: The file it is to be; empty where it is none.
    file: str = ""

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> str:
        """What is typed: the whole of a shell snippet, the lines after the prompt of a console's."""
        if self.kind == "console":
            return "\n".join(line[2:] for line in self.text.splitlines() if line.startswith("$ "))
        return self.text


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text()
    return [
        Snippet(page, text.count("\n", 0, found.start("kind")) + 1, found["kind"], found["text"], **marked(found))
        for found in _FENCE.finditer(text)
    ]


def marked(found: re.Match[str]) -> dict[str, str]:
    if found["what"] is None:
        return {}
    return {"reason" if found["what"] == "not run" else "file": found["said"]}


def of(*kinds: str) -> list[Snippet]:
    return [snippet for page in PAGES for snippet in snippets(page) if snippet.kind in kinds]


def prose(page: Path) -> str:
    """The page without its snippets."""
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = _HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}

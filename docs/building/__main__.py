"""Write the generated pages, or with `--check` say which are out of date: `python -m docs.building`."""

import sys
from pathlib import Path

from docs.building import cli_reference, http_reference, python_reference, settings_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "docs/settings.md": settings_page.page,
    "docs/reference/http.md": http_reference.page,
    "docs/reference/python.md": python_reference.page,
    "docs/reference/cli.md": cli_reference.page,
}


def main() -> int:
    stale = []
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale and "--check" in sys.argv:
        print(f"out of date: {', '.join(stale)}; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Write docs/reference/transitions.md from the table of transitions."""

from __future__ import annotations

from pathlib import Path

from meshline.engine.core.diagram import transitions_page

PAGE = Path(__file__).parent / "reference" / "transitions.md"

if __name__ == "__main__":
    PAGE.write_text(transitions_page(), encoding="utf-8")
    print(f"Wrote {PAGE}")

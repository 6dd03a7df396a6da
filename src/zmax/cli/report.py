"""`zmax report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zmax.cli.options import Run

Page = Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="The page; by default RUN/report.html.")]
Open = Annotated[bool, typer.Option("--open", help="Show it in the browser.")]


def report(run: Run, out: Page = None, open_: Open = False) -> int:
    """Write the page and the best samples of a run, finished or not.

    \b
    Example:
      zmax report runs/glasses --open

    \b
    The page is one HTML file that needs no network.
    """
    from zmax import load_result
    from zmax.cli.outcome import write_pages

    page, samples = write_pages(load_result(run), out)
    print(f"page     {page}\nsamples  {samples}")
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
    return 0

"""The page around a report: one file without any resource from outside, whose policy lets only our own script run."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from tasks.core.digest import sha256
from tasks.runs.compare import Comparison
from tasks.runs.comparison import beside
from tasks.runs.heading import failures, heading, system
from tasks.runs.markup import Child, Markup, Scale, el
from tasks.runs.recorded import Run
from tasks.runs.timeline import breadth, pool, rest, row_ids, timeline

_HERE = Path(__file__).parent


def page(title: str, *body: Child, class_: str = "") -> str:
    """A whole document, as a file holds it; `class_` is that of its main part."""
    style, script = _read("page.css"), _read("page.js")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("link", rel="icon", href="data:,"),
        el("style", Markup(style)),
    )
    whole = el(
        "html", head, el("body", el("main", *body, class_=class_ or None), el("script", Markup(script))), lang="en"
    )
    return f"<!DOCTYPE html>\n{whole}\n"


def policy(style: str, script: str) -> str:
    """Nothing is loaded; of styles and scripts only these two, known by their digests."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(bytes.fromhex(sha256(text))).decode()}"


def _read(name: str) -> str:
    """Without its newline at the end and its indentation, which no browser needs."""
    lines = (_HERE / name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line.strip() for line in lines if line.strip())


def html(run: Run, both: Comparison | None = None) -> str:
    """One file that needs nothing else. `both` holds this run against another."""
    runs = [run] if both is None else [run, both.before]
    scale, ids = Scale(length_s=run.length_s), row_ids(run)
    return page(
        f"{run.task} {run.started:%Y-%m-%d %H:%M:%S}",
        heading(run),
        failures(run),
        beside(both, ids) if both is not None else None,
        pool(run, scale, ids),
        timeline(run, scale, ids),
        rest(run),
        system(run),
        class_=breadth(row.short for each in runs for row in each.acted),
    )

"""Build hook of the site: pages that live elsewhere in the repository, and links out of `docs/`.

Some pages belong beside what they describe, such as the record of a model. They become pages of
the site, and links to them lead there. A link to any other file of the repository turns into its
path: a site has no such file. A link to nothing is left as it is, and the strict build refuses it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent.parent

ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "clients/grpc/README.md": "grpc.md",
    "clients/perf/README.md": "performance/clients.md",
    "clients/python/README.md": "client.md",
    "model_repository/lowres_pose/README.md": "models/record_lowres_pose.md",
    "model_repository/lowres_pose_32/README.md": "models/record_lowres_pose_32.md",
    "model_repository/person_detector/README.md": "models/record_person_detector.md",
    "model_repository/person_detector/curve.png": "models/curve.png",
}
"""Path in the repository to path in the site."""

ORIGINS = {page: origin for origin, page in ELSEWHERE.items()}

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that live elsewhere."""
    for origin, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / origin)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links from where a file lies in the repository to where its page is in the site."""
    here = page.file.src_uri
    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [LINK.sub(lambda link: rewritten(link, here), text) for text in parts[::2]]
    return "".join(parts)


def rewritten(link: re.Match[str], page: str) -> str:
    """A Markdown link of a page of the site, as the site needs it.

    Args:
        link: a match of `LINK`, relative to where the page's source lies.
        page: path in the site.
    """
    origin = ORIGINS.get(page, f"docs/{page}")
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link["path"]))
    if target.startswith("docs/") and (ROOT / target).is_file():
        in_site = target.removeprefix("docs/")
    elif target in ELSEWHERE:
        in_site = ELSEWHERE[target]
    elif (ROOT / target).exists():
        path = f"`{target}`"
        return path if link["text"].strip("`/") in target else f"{link['text']} ({path})"
    else:
        return link[0]
    relative = posixpath.relpath(in_site, posixpath.dirname(page) or ".")
    return f"{link['image']}[{link['text']}]({relative}{link['anchor'] or ''})"

"""The description for package indexes: README.md with absolute links. Everything else is in pyproject.toml.

Relative links work in the repository only. The absolute ones lead to the tag of the version, ``v0.1.0``.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
# A block of code, which is left unchanged, or a link or picture.
_BLOCK_OR_LINK = re.compile(r"```.*?```|(?P<text>!?\[[^\]]*\])\((?P<target>[^)\s]+)\)", flags=re.DOTALL)


def absolute_links(text: str, repository: str, version: str) -> str:
    """Return a Markdown text in which relative links and pictures lead to files of a GitHub repository.

    Args:
        text: the Markdown text of a file in the root of the repository.
        repository: the repository's address, without a slash at its end.
        version: the version of the package, whose tag is ``v`` and the version.
    """
    pages = f"{repository}/blob/v{version}/"
    pictures = f"{repository.replace('//github.com/', '//raw.githubusercontent.com/')}/v{version}/"

    def absolute(found: re.Match[str]) -> str:
        link, target = found["text"], found["target"]
        if link is None or target.startswith(("http://", "https://", "mailto:", "#")):
            return found[0]
        return f"{link}({pictures if link.startswith('!') else pages}{target})"

    return _BLOCK_OR_LINK.sub(absolute, text)


def description() -> str:
    """Return the description of the version that pyproject.toml declares."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return absolute_links(readme, project["urls"]["Repository"], project["version"])


if __name__ == "__main__":
    setup(long_description=description(), long_description_content_type="text/markdown")

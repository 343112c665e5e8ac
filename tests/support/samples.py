"""The sample images of the page without jobs: prints of the mock provider, kept as files.

Run as a module, it writes the files anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import shared.api
from shared.imaging.mock_print import MockPrint, draw_png

PAGE = Path(shared.api.__file__).parent / "page"
SIDE_PX = 384
SEEDS = {"sample-1.png": 2, "sample-2.png": 9, "sample-3.png": 1}

_SAMPLE = re.compile(r'data-style="(.+?)"><img src="assets/(.+?)" .+? alt="(.+?)"')


def samples() -> Iterator[tuple[Path, MockPrint]]:
    """Yield each file that the page names, and the print that it holds."""
    for style, name, prompt in _SAMPLE.findall((PAGE / "index.html").read_text()):
        yield PAGE / name, MockPrint(prompt, style, SIDE_PX, SIDE_PX, SEEDS[name])


if __name__ == "__main__":
    for path, wanted in samples():
        path.write_bytes(draw_png(wanted))

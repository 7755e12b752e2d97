"""Draws the figures of `docs/method.md` into `docs/images`.

Everything is computed: by the bundled student, the study's teacher and the code that trains them,
on a drawn person whose joints are known.

    python docs/figures/method
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from bins import merged_bins, tempered_bins
from matplotlib.figure import Figure
from parts import training_parts
from simcc import distributions
from temperature import adversary

IMAGES = Path(__file__).parent.parent.parent / "images"

FIGURES: dict[str, Callable[[], Figure]] = {
    "method-simcc": distributions,
    "method-parts": training_parts,
    "method-bins": merged_bins,
    "method-order": tempered_bins,
    "method-temperature": adversary,
}

DOTS_PER_INCH = 110


def main() -> None:
    """Write the figures, or one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)}")
    parser.add_argument("--output", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(FIGURES))
    if unknown:
        parser.error(f"no figure {unknown[0]}: choose from {', '.join(FIGURES)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or FIGURES:
        path = arguments.output / f"{name}.png"
        FIGURES[name]().savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})
        print(f"{path}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()

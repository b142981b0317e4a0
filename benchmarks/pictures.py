"""The pictures of the pages: every spec is run, and its curves are drawn into docs/pictures.

python benchmarks/pictures.py [--mnist DIR] [--fashion DIR] [NAME ...]

With real MNIST and Fashion-MNIST where they are available; otherwise the pictures say that digits replace them. It
takes a few minutes, most of it for tiny_gpt.nn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from PIL import Image

import nnspec

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/pictures"
WIDTH = 1100
"""Pixels."""


def main() -> None:
    """Run the specs, all or those named, and write a picture and print the results of each."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("names", nargs="*", metavar="NAME", help="specs to run, such as lenet; all by default")
    options.add_argument("--mnist", type=Path, metavar="DIR")
    options.add_argument("--fashion", type=Path, metavar="DIR")
    given = options.parse_args()
    PICTURES.mkdir(exist_ok=True)
    for name in given.names or sorted(path.stem for path in ROOT.glob("specs/*.nn")):
        start = time.perf_counter()
        spec = ROOT / f"specs/{name}.nn"
        text = spec.read_text(encoding="utf-8")
        data_dir = given.fashion if "FashionMNIST" in text else given.mnist if "MNIST" in text else None
        with tempfile.TemporaryDirectory() as folder:
            result = nnspec.run(spec, out=folder, data_dir=data_dir)
            reduce(Path(folder, "curves.png"), PICTURES / f"{name}.png")
        print(result, f"{time.perf_counter() - start:.1f} s\n", sep="\n", flush=True)


def reduce(source: Path, target: Path) -> None:
    """Write a copy that is small enough for the repository: fewer pixels, and 256 colours."""
    picture = Image.open(source).convert("RGB")
    picture.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()

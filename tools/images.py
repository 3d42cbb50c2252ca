"""Draw the images of the documentation again: run the cases, draw their figures in full colour, none above 150 kB.

Smooth fields and fine meshes are JPEG, of which PNG holds too few dots in that size.

    python tools/images.py                # all: an hour or two of one core
    python tools/images.py demo pull      # some

Runs are kept in runs/images, and one that is finished there is drawn without being computed again.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from PIL import Image

ROOT = Path(__file__).parents[1]
IMAGES, RUNS = ROOT / "docs" / "images", ROOT / "runs" / "images"
MOST = 150_000  # bytes
RESOLUTIONS = (160, 140, 125, 110, 100, 90, 80, 75, 70, 65, 60)


class Drawn(NamedTuple):
    """A run: what follows `fiberax run`, and its figures by the file of the image."""

    arguments: tuple[str, ...]
    figures: dict[str, str]


WAVES = ("kolmogorov", "--Re", "1", "--De", "4", "--waves", "4", "--viscosity-ratio", "0.77", "--t1", "60")
DRAWN = {
    "demo": Drawn(
        ("diffusion",),
        {"demo-scales.png": "scales", "demo-fields.png": "U", "demo-response.png": "response"},
    ),
    "pull": Drawn(("pull",), {"pull-body.jpg": "body", "pull-curve.png": "stress-strain"}),
    "crystal": Drawn(("crystal", "--material", "si-sw"), {"crystal-path.png": "path"}),
    "channel": Drawn(("channel",), {"flow-channel.png": "centre", "flow-stress.png": "stress"}),
    "cavity": Drawn(("cavity",), {"flow-cavity.jpg": "fields", "flow-ellipses.png": "ellipses"}),
    "kolmogorov": Drawn(WAVES, {"flow-kolmogorov.jpg": "fields"}),
    "liquid": Drawn(("liquid-channel",), {"liquid-velocity.png": "velocity", "liquid-boxes.png": "boxes"}),
    "liquid-rates": Drawn(("rheometer", "--model", "lj"), {"liquid-rates.png": "material-functions"}),
    "hole": Drawn(("diffusion", "--shape", "plate-with-hole"), {"diffusion-hole.png": "U"}),
    "l-shape": Drawn(("steady", "--shape", "l-shape", "--cells", "12"), {"steady-l-shape.png": "U"}),
    "electrons": Drawn(
        ("electrons",),
        {"electrons-silicon.png": "stress-strain", "electrons-density.jpg": "density", "electrons-bands.png": "bands"},
    ),
}


def run(*words: str) -> None:
    """A command of fiberax; ends where it fails."""
    subprocess.run([sys.executable, "-m", "fiberax", *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def keep(drawn: Path, target: Path) -> int:
    """Write a picture without its empty fourth channel, as small as it can be; its size in bytes."""
    look = {"quality": 80, "subsampling": 0} if target.suffix == ".jpg" else {}
    with Image.open(drawn) as picture:
        picture.convert("RGB").save(target, optimize=True, **look)
    return target.stat().st_size


def draw(name: str) -> None:
    """Run a case unless it is finished, and draw its images with the most dots that the limit allows."""
    arguments, figures = DRAWN[name]
    folder = RUNS / name
    if not (folder / "digests.json").exists():
        run("run", *arguments, "--no-figures", "--quiet", "--overwrite", "--out", str(folder))
    wanted = dict(figures)
    for dpi in RESOLUTIONS:
        run("plot", str(folder), "--dpi", str(dpi))
        with tempfile.TemporaryDirectory() as place:
            for image, figure in list(wanted.items()):
                made = Path(place) / image
                if keep(folder / "figures" / f"{figure}.png", made) <= MOST:
                    (IMAGES / made.name).write_bytes(made.read_bytes())
                    print(f"{image}: {dpi} dots per inch, {made.stat().st_size // 1000} kB", flush=True)
                    del wanted[image]
        if not wanted:
            return
    sys.exit(f"{', '.join(wanted)}: larger than {MOST // 1000} kB")


def main() -> None:
    """Those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*DRAWN, []], default=list(DRAWN))
    for name in parser.parse_args().names:
        draw(name)


if __name__ == "__main__":
    main()

"""Build the wheel, install it alone into a fresh environment and run the demo there, as after `pip install fiberax`.

    python tools/wheel.py

The wheel stays in dist/. The environment lies in a temporary folder and holds no extra, so that nothing of the source tree and
no optional package can help. Exit code 1 where a command fails, or where it does not say which extra a user needs.
"""

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("PIL", "matplotlib", "tifffile", "xarray", "h5netcdf", "diffrax", "ase", "skfem", "meshio", "pyamg")
DEMO = ("run", "diffusion", "--cells", "4", "--t1", "0.1", "--records", "2", "--plain", "--out", "demo")
# A PNG of 1 pixel; the run must end before it is read.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c63600000000200014827fd1b0000000049454e44ae426082"
)


def build() -> Path:
    """The wheel, built anew into dist/."""
    for old in (ROOT / "dist").glob("*.whl"):
        old.unlink()
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", "."], cwd=ROOT, check=True)
    return next((ROOT / "dist").glob("*.whl"))


def run(folder: Path, *command: str, code: int = 0) -> str:
    """What a command of the fresh environment prints; it must end with the exit code given."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    program = str(folder / "environment" / ("Scripts" if os.name == "nt" else "bin") / command[0])
    done = subprocess.run([program, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode != code:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}, expected {code}.\n{said}")
    return said


def demand(holds: bool, what: str) -> None:
    """End with a message where something does not hold."""
    if not holds:
        sys.exit(f"The wheel is not fit for users: {what}.")


def check(folder: Path) -> None:
    """Commands of the installed wheel, and what they must say."""
    found = run(folder, "python", "-c", f"import importlib.util as u; print([n for n in {EXTRAS} if u.find_spec(n)])")
    demand(found.strip() == "[]", f"the bare environment holds optional packages: {found.strip()}")
    where = run(folder, "python", "-c", "import fiberax; print(fiberax.__file__)").strip()
    demand(where.startswith(str(folder.resolve())), f"fiberax was imported from {where}")
    listed = run(folder, "fiberax", "list")
    demand("diffusion" in listed and "crystal" in listed, f"`fiberax list` says\n{listed}")
    said = run(folder, "fiberax", *DEMO)
    demand((folder / "demo" / "results.nc").exists(), "the demo left no results.nc")
    demand(any((folder / "demo" / "paraview").iterdir()), "the demo left no ParaView files")
    demand("fiberax[plot]" in said, f"the demo does not say which extra draws its figures:\n{said}")
    (folder / "cell.png").write_bytes(PNG)
    said = run(folder, "fiberax", "run", "diffusion", "--image", "cell.png", "--out", "own", code=2)
    demand("fiberax[image]" in said, f"a user's PNG is refused without the name of the extra:\n{said}")


def main() -> None:
    """Build, install, run."""
    wheel = build()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "environment", with_pip=True)
        run(folder, "python", "-m", "pip", "install", "--quiet", str(wheel))
        check(folder)
    print(f"{wheel.relative_to(ROOT)}: installed alone, it lists the cases and runs the demo without any extra.")


if __name__ == "__main__":
    main()

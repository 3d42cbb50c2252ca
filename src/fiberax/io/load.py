"""Results of a run folder as a labelled data set."""

from pathlib import Path
from typing import Any

from fiberax.core.errors import BadInput, MissingExtra


def load(folder: str | Path) -> Any:
    """The results of a run of the command line.

    Args:
        folder: The run folder, or its `results.nc`.

    Returns:
        An `xarray.Dataset`, in memory: one variable for each quantity, with names, dimensions and units of the file.

    Raises:
        BadInput: No run folder, one without `results.nc`, or a file that cannot be read.
        MissingExtra: xarray or h5netcdf is absent.
    """
    try:
        import h5netcdf  # noqa: F401
        import xarray
    except ImportError as error:
        raise MissingExtra("load needs xarray and h5netcdf: install `fiberax[data]`.") from error
    given = Path(folder)
    path = given / "results.nc" if given.is_dir() else given
    if not path.is_file():
        begun = given.is_dir() and (given / "parameters.json").exists()
        what = f"load: {given} holds no results yet" if begun else f"load: {given} is no run folder, and no file of results"
        raise BadInput(f"{what}. `fiberax plot {given}` assembles what a run has saved so far." if begun else f"{what}.")
    try:
        with xarray.open_dataset(path, engine="h5netcdf") as data:
            return data.load()
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"load: {path} cannot be read ({error}). `fiberax plot {path.parent}` writes it again.") from error

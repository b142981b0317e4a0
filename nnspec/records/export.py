"""Weights of a saved run as a file of their own: NPZ, or safetensors, which other frameworks read without NumPy."""

from __future__ import annotations

from pathlib import Path

from nnspec.engine._numpy import np
from nnspec.errors import NnspecError
from nnspec.files import output, utf8
from nnspec.records.folder import OutputError
from nnspec.records.saved import SavedRun

__all__ = ["ExportError", "export"]


class ExportError(NnspecError):
    """Weights that cannot be exported. The message says why and what to do."""


def export(saved: SavedRun, out: Path, lane: str | None, seed: int | None, *, force: bool) -> Path:
    """Write every array of a network by its full name: parameters, what layers remember, and `input.mean`,
    `input.deviation`, `target.mean`, `target.deviation` where samples or targets are standardised. Weights of a Linear
    layer are `(in, out)`, the transpose of PyTorch's. The metadata of a safetensors file names lane, seed, spec
    and its identity.

    Raises RunError, ExportError, and OutputError where the file cannot be written, or is there without `force`.
    """
    if out.suffix not in (".safetensors", ".npz"):
        raise ExportError(f"weights are written as .safetensors or .npz, and {out} ends in neither")
    name, chosen, _ = saved.pick(lane, seed)
    arrays = saved.weights(name, chosen)
    if out.exists() and not force:
        raise OutputError(f"{out} already exists; choose another file, or add --force to overwrite it")
    if out.suffix == ".safetensors":
        try:
            from safetensors.numpy import save
        except ImportError:
            raise ExportError(
                'writing safetensors takes the library of that name: `pip install "nnspec[safetensors]"`; '
                "or name a file that ends in .npz"
            ) from None
        manifest = saved.manifest
        words = {
            "format": "np",
            "lane": name,
            "seed": str(chosen),
            "spec": utf8(manifest.spec).decode(),
            "identity": manifest.identity,
            "nnspec": str(manifest.environment.get("nnspec", "")),
        }
        contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        data = save(contiguous, metadata=words)
    try:
        with output(out) as file:
            if out.suffix == ".safetensors":
                file.write(data)
            else:
                np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from None
    return out

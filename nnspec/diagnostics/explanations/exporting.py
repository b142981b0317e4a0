"""NN8xx: export."""

from __future__ import annotations

from nnspec.diagnostics.explanations.example import Explanation

__all__ = ["EXPLANATIONS"]

EXPLANATIONS = {
    "NN801": Explanation(
        """
`nnspec export` writes a trained network as ONNX, C, PyTorch or NumPy. This layer cannot be expressed there: it comes
from another package, which nnspec has no code for, or the runtime of the target lacks it in the network's dtype.
Nothing was written. Choose another target with `--to`, or export the weights alone as `.npz` or `.safetensors`.
""",
        no_example="Only `nnspec export` reports it, for a trained network and a target.",
    ),
}

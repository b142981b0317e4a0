"""The conformance kit: what every part must do, held against nnspec's own parts and anyone else's.

    import pytest
    from nnspec.testing import checks

    @pytest.mark.parametrize("check", checks("my_package"), ids=str)
    def test_conformance(check):
        check()

`nnspec conform my_package` runs the same checks without pytest.
"""

from nnspec.testing.check import Check, ConformanceError, Nonconforming, checks
from nnspec.testing.conform import Conformance, Outcome, conform

__all__ = ["Check", "Conformance", "ConformanceError", "Nonconforming", "Outcome", "checks", "conform"]

"""Why each check that is not passed is not: shown in docs/operators.md, where a failure without a reason is an error of the tests."""
from __future__ import annotations

#: entry -> why it is missing, or why some of its checks are not passed.
REASONS = {
    "addbmm": "in place, PyTorch changes the shape of a smaller input to the product's; here that is an error, as in every other in-place operation",
    "as_strided_scatter": "PyTorch's gradient by the input is that of the region which was overwritten, and zero elsewhere; it should be the other way round",
    "chalf": "complex32 is not built",
    "corrcoef": "of two columns the bfloat16 gradient is zero but for rounding; ours leaves 7e-4 of it, where PyTorch's terms cancel exactly",
    "cov": "with float32 weights of a float64 input the divisor is a small difference of float32 sums; ours and PyTorch's round differently",
    "gradient": "one of the calls that must raise has a tensor on the meta device, which is not built",
    "special.bessel_j0": "PyTorch's float64 is off by 2e-7 beyond 5; ours agrees with mpmath to the last digits",
    "special.bessel_y1": "PyTorch's float64 is off by 3e-7 beyond 5; ours agrees with mpmath to the last digits",
}

"""`torsh.sparse`: tensors that name their elements, by coordinates or with compressed rows or columns; loaded when first used."""
from importlib import import_module as _import_module

from torsh.autograd import engine as _engine
from torsh.ops.composed import install as _install
from torsh.sparse.arithmetic import gradients_added
from torsh.sparse.compressed import CompressedTensor
from torsh.sparse.coo import SparseTensor
from torsh.sparse.products import addmm, sampled_addmm, spdiags
from torsh.sparse.products import sparse_mm as mm
from torsh.sparse.reductions import log_softmax, softmax
from torsh.sparse.reductions import sparse_sum as sum

for _part in ("arithmetic", "convert", "creation", "products", "reductions", "shapes"):  # whose operations are handlers of the two classes
    _import_module("torsh.sparse." + _part)
for _kind in (SparseTensor, CompressedTensor):
    _install(_kind, ("add", "add_", "sub", "sub_", "mul", "mm", "matmul", "mv", "addmm", "copy_"))
_engine.arithmetic.add = gradients_added
__all__ = ["CompressedTensor", "SparseTensor", "addmm", "log_softmax", "mm", "sampled_addmm", "softmax", "spdiags", "sum"]

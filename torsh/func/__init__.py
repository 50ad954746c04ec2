"""`torsh.func`: transforms of functions, which compose: derivatives, Jacobians, batching, modules as functions."""
from torsh.func.modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from torsh.func.rearrange import rearrange
from torsh.func.transforms import functionalize, grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp
from torsh.func.vmap import debug_unwrap, vmap

__all__ = ["debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "rearrange",
           "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap"]

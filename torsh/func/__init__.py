"""`torsh.func`: transforms of functions, which compose: derivatives, Jacobians, batching, modules as functions."""
from torsh.func.modules import functional_call, replace_all_batch_norm_modules_, stack_module_state
from torsh.func.transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp
from torsh.func.vmap import vmap

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize",
           "replace_all_batch_norm_modules_", "stack_module_state", "vjp", "vmap"]

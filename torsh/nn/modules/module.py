"""`Module`, and the hooks of all modules, under PyTorch's path."""
from __future__ import annotations

from torsh.nn.hooks import register_module_backward_hook as register_module_backward_hook
from torsh.nn.hooks import register_module_buffer_registration_hook as register_module_buffer_registration_hook
from torsh.nn.hooks import register_module_forward_hook as register_module_forward_hook
from torsh.nn.hooks import register_module_forward_pre_hook as register_module_forward_pre_hook
from torsh.nn.hooks import register_module_full_backward_hook as register_module_full_backward_hook
from torsh.nn.hooks import register_module_full_backward_pre_hook as register_module_full_backward_pre_hook
from torsh.nn.hooks import register_module_module_registration_hook as register_module_module_registration_hook
from torsh.nn.hooks import register_module_parameter_registration_hook as register_module_parameter_registration_hook
from torsh.nn.module import Module as Module

__all__ = ["Module", "register_module_backward_hook", "register_module_buffer_registration_hook", "register_module_forward_hook",
           "register_module_forward_pre_hook", "register_module_full_backward_hook", "register_module_full_backward_pre_hook",
           "register_module_module_registration_hook", "register_module_parameter_registration_hook"]

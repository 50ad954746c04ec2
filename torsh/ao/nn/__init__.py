"""`torsh.ao.nn.quantized`: layers of quantized tensors."""
from torsh.ao.nn import quantized as quantized

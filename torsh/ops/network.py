"""The operations of neural networks that PyTorch also has as `torch.<name>`, with the same arguments there."""
from __future__ import annotations

from torsh.ops import activation, attention, cross_entropy, ctc, embedding, loss, resample, softmax
from torsh.ops.adaptive_pool import adaptive_avg_pool1d
from torsh.ops.conv import conv1d, conv2d, conv3d, conv_tbc, conv_transpose1d, conv_transpose2d, conv_transpose3d
from torsh.ops.dispatch import FUNCTIONS
from torsh.ops.dropout import alpha_dropout, dropout, feature_alpha_dropout
from torsh.ops.norm import group_norm, instance_norm, layer_norm, rms_norm
from torsh.ops.pool import avg_pool1d, max_pool1d, max_pool2d, max_pool3d
from torsh.ops.similarity import cosine_similarity, pairwise_distance

for _f in (adaptive_avg_pool1d, alpha_dropout, avg_pool1d, conv1d, conv2d, conv3d, conv_tbc, conv_transpose1d, conv_transpose2d, conv_transpose3d, dropout,
           feature_alpha_dropout, group_norm, instance_norm, layer_norm, max_pool1d, max_pool2d, max_pool3d, rms_norm):
    FUNCTIONS[_f.__name__] = _f
__all__ = ["activation", "attention", "cosine_similarity", "cross_entropy", "ctc", "embedding", "loss", "pairwise_distance", "resample",
           "softmax"]

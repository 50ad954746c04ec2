"""Public functions and methods that are loaded when first used: linear algebra, Fourier transforms, special functions, windows, statistics.

A name here needs no import at start-up: `torsh.det` loads `torsh.linalg` when it is looked up, `Tensor.det` when it is called.
"""
from __future__ import annotations

from importlib import import_module
from typing import Any

from torsh.ops.dispatch import LATE
from torsh.tensor.tensor import Tensor

#: Names of functions that are methods too; of functions alone; of methods alone.
_NAMES: dict[str, tuple[str, str, str]] = {
    "torsh.linalg": (
        "cholesky cholesky_inverse cholesky_solve det geqrf inverse logdet lu_solve matrix_exp matrix_power orgqr ormqr pinverse qr slogdet svd "
        "triangular_solve",
        "chain_matmul frobenius_norm lobpcg lu_unpack nuclear_norm pca_lowrank svd_lowrank vander lu",
        ""),
    "torsh.ops.calculus": ("", "cumulative_trapezoid gradient trapezoid trapz", ""),
    "torsh.ops.combine": ("combinations nonzero_static put put_", "broadcast_shapes fill unravel_index", ""),
    "torsh.ops.floating": (
        "copysign copysign_ deg2rad deg2rad_ float_power frexp gcd gcd_ heaviside heaviside_ hypot hypot_ lcm lcm_ ldexp ldexp_ logaddexp logaddexp2 "
        "nan_to_num nan_to_num_ nextafter nextafter_ rad2deg rad2deg_ signbit",
        "",
        "float_power_"),
    "torsh.ops.statistics": (
        "corrcoef cov dist hash_tensor histc histogram nanmean nanquantile nansum quantile renorm renorm_",
        "histogramdd isin",
        ""),
    "torsh.ops.native": (
        "",
        "native_layer_norm native_group_norm native_batch_norm batch_norm grid_sampler grid_sampler_2d grid_sampler_3d affine_grid_generator embedding "
        "kl_div binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss margin_ranking_loss poisson_nll_loss triplet_margin_loss "
        "celu_ selu_ rrelu_ threshold_ dropout_ alpha_dropout_ feature_alpha_dropout_",
        ""),
    "torsh.quantized": (
        "dequantize int_repr q_scale q_zero_point q_per_channel_scales q_per_channel_zero_points q_per_channel_axis",
        "quantize_per_tensor quantize_per_tensor_dynamic quantize_per_channel empty_quantized quantized_batch_norm quantized_max_pool1d quantized_max_pool2d "
        "quantized_max_pool3d fake_quantize_per_tensor_affine fake_quantize_per_channel_affine fused_moving_avg_obs_fake_quant",
        "qscheme"),
    "torsh.ops.native_layers": (
        "",
        "adaptive_max_pool1d bilinear convolution embedding_bag embedding_renorm_ feature_dropout feature_dropout_ max_pool1d_with_indices native_dropout "
        "native_norm norm_except_dim",
        ""),
    "torsh.ops.recurrent": ("", "gru_cell lstm_cell rnn_relu_cell rnn_tanh_cell", ""),
    "torsh.ops.recurrent_networks": ("", "gru lstm rnn_relu rnn_tanh", ""),
    "torsh.ops.batch_statistics": (
        "",
        "batch_norm_backward_elemt batch_norm_backward_reduce batch_norm_elemt batch_norm_gather_stats batch_norm_gather_stats_with_counts batch_norm_stats "
        "batch_norm_update_stats",
        ""),
    "torsh.ops.hashes": ("hash_tensor", "", ""),
    "torsh.ops.int8": ("", "_int_mm", ""),
    "torsh.storage": ("", "", "is_shared share_memory_ storage storage_type untyped_storage"),
    "torsh.sparse": (
        "resize_as_sparse_ smm sspaddmm",
        "sparse_coo_tensor sparse_compressed_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor sparse_bsc_tensor spmm dsmm hspmm hsmm saddmm "
        "crow_indices_copy col_indices_copy ccol_indices_copy row_indices_copy indices_copy values_copy",
        "to_dense to_sparse to_sparse_coo to_sparse_csr to_sparse_csc to_sparse_bsr to_sparse_bsc sparse_dim dense_dim coalesce is_coalesced indices values "
        "crow_indices col_indices ccol_indices row_indices sparse_mask sparse_resize_ sparse_resize_and_clear_"),
    "torsh.fft.short_time": ("istft stft", "", ""),
    "torsh.special.bessel": ("i0 i0_", "", ""),
    "torsh.special.gamma": ("digamma digamma_ igamma igamma_ igammac igammac_ lgamma lgamma_ mvlgamma mvlgamma_", "polygamma", "polygamma polygamma_"),
    "torsh.special.normal": ("erfinv erfinv_ logit logit_ sinc sinc_ xlogy xlogy_", "", ""),
    "torsh.ops.samplers": ("", "binomial poisson", ""),
    "torsh.signal.windows": ("", "bartlett_window blackman_window hamming_window hann_window kaiser_window", ""),
}


def _method(name: str, module: str) -> Any:
    def call(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        import_module(module)  # which puts the method itself in this one's place
        return getattr(Tensor, name)(self, *args, **kwargs)
    call.__name__ = name
    call.__doc__ = f"`{name}` of `{module}`, which is loaded by the first call."
    return call


def announce(names: dict[str, tuple[str, str, str]]) -> None:
    """Make the names known."""
    for module, (both, functions, methods) in names.items():
        for name in (both + " " + functions).split():
            LATE[name] = module
        for name in (both + " " + methods).split():
            setattr(Tensor, name, _method(name, module))


announce(_NAMES)

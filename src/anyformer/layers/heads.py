"""Attention heads: their width, and splitting and merging of tensors."""

from __future__ import annotations

from torch import Tensor


def head_width(dim: int, num_heads: int, head_dim: int | None, option: str = "head_dim") -> int:
    """Return ``head_dim``, by default dim / num_heads; raise ``ValueError`` if ``num_heads`` does not divide dim.

    ``option`` is the name of ``head_dim`` in messages.
    """
    if num_heads < 1:
        raise ValueError(f"num_heads must be at least 1, got {num_heads}")
    if head_dim is None and dim % num_heads:
        raise ValueError(f"num_heads must divide dim={dim} (or give {option}), got {num_heads}")
    if head_dim is not None and head_dim < 1:
        raise ValueError(f"{option} must be at least 1, got {head_dim}")
    return dim // num_heads if head_dim is None else head_dim


def key_heads(num_heads: int, num_kv_heads: int | None) -> int:
    """Return ``num_kv_heads``, by default ``num_heads``; raise ``ValueError`` if it does not divide them."""
    if num_kv_heads is None:
        return num_heads
    if num_kv_heads < 1 or num_heads % num_kv_heads:
        raise ValueError(f"num_kv_heads must divide num_heads={num_heads}, got {num_kv_heads}")
    return num_kv_heads


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Split (B, T, H*K) into heads (B, H, T, K)."""
    B, T, width = x.shape
    return x.view(B, T, num_heads, width // num_heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Merge heads (B, H, T, V) into (B, T, H*V)."""
    return x.transpose(1, 2).flatten(2)

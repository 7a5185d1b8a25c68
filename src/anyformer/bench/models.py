"""Whole models: the time of a training step, and of decoding one token after a long context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from anyformer.bench.report import BenchTable
from anyformer.bench.timing import Times, alternate, forward, ratio, timed, undisturbed
from anyformer.convert import from_hf
from anyformer.models import create_model, load_spec

VOCAB, DIM, DEPTH, HEADS, HIDDEN = 1024, 320, 8, 5, 864
"""A Llama shape of ten million parameters."""


def bench_training(progress: Callable[[str], None] = lambda text: None) -> BenchTable:
    """Time forward, loss, backward and AdamW of a Llama shape, ours and others' of the same sizes."""
    progress("a training step")
    table = BenchTable(
        "A training step",
        ("model", "parameters", "ms", "times as long as ours"),
        note=f"Llama shape: width {DIM}, {DEPTH} layers, {HEADS} heads, SwiGLU of {HIDDEN}, vocabulary {VOCAB}; "
        "8 sequences of 512 tokens; forward, cross-entropy, backward, AdamW.",
    )
    torch.manual_seed(0)
    spec = (
        f"[attention(num_heads={HEADS})]*{DEPTH} dim={DIM} positions=rope channel=swiglu(hidden_dim={HIDDEN})"
    )
    models: dict[str, nn.Module] = {"anyformer": create_model(spec, vocab_size=VOCAB)}
    missing = []
    for name, make in {"transformers": transformers_llama, "x-transformers": _x_transformers}.items():
        try:
            models[name] = make()
        except ImportError:
            missing.append(name)
    tokens = torch.randint(VOCAB, (8, 513))
    times = alternate({name: _step(model, tokens) for name, model in models.items()}, seconds=20)
    for name, model in models.items():
        size = sum(p.numel() for p in model.parameters())
        table.add(name, f"{size:,}", times[name], f"{ratio(times[name], times['anyformer']):.3g}")
    if missing:
        table.note += f" Not installed: {', '.join(missing)}."
    return table


def transformers_llama(
    vocab: int = VOCAB, dim: int = DIM, depth: int = DEPTH, heads: int = HEADS
) -> nn.Module:
    """Make transformers' Llama with random weights.

    Raises:
        ImportError: if transformers is not installed.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=dim,
        intermediate_size=HIDDEN,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1 << 17,
    )
    return LlamaForCausalLM(config)


def _x_transformers() -> nn.Module:
    from x_transformers import Decoder, TransformerWrapper

    body = Decoder(
        dim=DIM,
        depth=DEPTH,
        heads=HEADS,
        rotary_pos_emb=True,
        use_rmsnorm=True,
        ff_glu=True,
        ff_swish=True,
        ff_no_bias=True,
        ff_mult=HIDDEN / DIM,
        attn_flash=True,
    )
    return TransformerWrapper(num_tokens=VOCAB, max_seq_len=512, attn_layers=body, use_abs_pos_emb=False)


def _step(model: nn.Module, tokens: Tensor) -> Callable[[], object]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        result: Any = model(tokens[:, :-1])
        logits = getattr(result, "logits", result)
        cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()

    return run


CONSTANT = ("mamba", "retnet", "delta_net", "rwkv4", "linear_transformer")
SHAPE: dict[str, Any] = {"depth": 12, "dim": 256}


def bench_decoding(
    names: Sequence[str] = CONSTANT, progress: Callable[[str], None] = lambda text: None
) -> list[BenchTable]:
    """Time decoding one token: after short and long contexts, and beside transformers with its cache."""
    return [_constant_state(names, progress), _beside_transformers(progress)]


def _constant_state(
    names: Sequence[str], progress: Callable[[str], None], contexts: Sequence[int] = (1024, 8192, 65536)
) -> BenchTable:
    table = BenchTable(
        "One more token, models of constant state",
        ("model", *(f"after {n}, ms" for n in contexts), "last over first"),
        note="12 layers of width 256, batch 1; the contexts take turns.",
    )
    token = torch.zeros(1, 1, dtype=torch.long)
    for name in names:
        progress(f"{name}: one more token after {contexts[-1]}")
        torch.manual_seed(0)
        model = create_model(load_spec(name, **SHAPE), vocab_size=256).eval()
        steps: dict[str, Callable[[], object]] = {}
        state, seen = model.init_state(1), 0
        with torch.no_grad():
            for context in contexts:
                while seen < context:
                    piece = min(2048, context - seen)
                    _, state = model.stream(torch.randint(256, (1, piece)), state)
                    seen += piece
                run = forward(lambda state=state, model=model: model.stream(token, state))
                steps[str(context)] = undisturbed(run)
        times = alternate(steps)
        table.add(name, *times.values(), f"{ratio(times[str(contexts[-1])], times[str(contexts[0])]):.2f}")
    return table


def _beside_transformers(
    progress: Callable[[str], None], contexts: Sequence[int] = (128, 1024, 4096, 16384)
) -> BenchTable:
    table = BenchTable(
        "One more token, Llama shape",
        ("context", "ours, ms", "transformers, ms", "times as long"),
        note="The same weights, 12 layers of width 256, 4 heads, batch 1; transformers with its default cache.",
    )
    try:
        torch.manual_seed(0)
        peer: Any = transformers_llama(256, 256, 12, 4).eval()
    except ImportError:
        table.note += " transformers is not installed."
        return table
    model = from_hf(peer)
    for context in contexts:
        progress(f"a transformer: one more token after {context}")
        tokens = torch.randint(256, (1, context))
        with torch.no_grad():
            _, state = model.stream(tokens, model.init_state(1))
            cache = peer(tokens, use_cache=True).past_key_values
            holder = {"ours": state, "theirs": cache}
            token = tokens[:, :1]

            def ours(holder: dict[str, Any] = holder, token: Tensor = token) -> None:
                _, holder["ours"] = model.stream(token, holder["ours"])

            def theirs(holder: dict[str, Any] = holder, token: Tensor = token) -> None:
                holder["theirs"] = peer(
                    token, past_key_values=holder["theirs"], use_cache=True
                ).past_key_values

            runs: dict[str, list[float]] = {"ours": [], "theirs": []}
            for _ in range(40):
                runs["ours"].append(timed(undisturbed(ours)))
                runs["theirs"].append(timed(undisturbed(theirs)))
        mine, other = (Times(tuple(runs[name][8:])) for name in ("ours", "theirs"))
        table.add(f"{context:,}", mine, other, f"{ratio(other, mine):.3g}")
    return table

"""Identities of The Transformer, and its study."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anyformer.convert.export import export_layer
from anyformer.convert.marian import from_marian
from anyformer.laws.checks import perturb
from anyformer.laws.measures import close
from anyformer.layers.waves import waves
from anyformer.models import EncoderDecoder, load_spec
from anyformer_papers.identity import identity, peer
from anyformer_papers.study import Study

study = Study(  # several heads or one, at equal width
    task="copy",
    arms={
        f"{heads} heads": f"[attention(num_heads={heads})]*2 positions=sinusoidal channel=mlp(activation=relu) "
        "norm=layer_norm residual=post"
        for heads in (4, 1)
    },
    options={"length": 32},
    smallest=0.05,
    steps=400,
)

D, H, F, N = 16, 4, 64, 2


def ours() -> EncoderDecoder:
    """A small one, its norms and biases moved off where they start."""
    model = (
        EncoderDecoder(load_spec(f"encoder_decoder dim={D} depth={N}").model_dump(), vocab_size=11)
        .double()
        .eval()
    )
    perturb(model, 0.3, lambda name: "norm" in name or name.endswith("bias"))
    return model


@identity(
    "the whole = torch.nn's post-norm layers with the same weights, ragged sources and targets included"
)
def equals_torch() -> None:
    model, options = ours(), {"dropout": 0.0, "batch_first": True, "dtype": torch.float64}
    encoder = [nn.TransformerEncoderLayer(D, H, F, **options).eval() for _ in range(N)]  # type: ignore[arg-type]
    decoder = [nn.TransformerDecoderLayer(D, H, F, **options).eval() for _ in range(N)]  # type: ignore[arg-type]
    with torch.no_grad():
        for i in range(N):
            export_layer(model.encoder.stack, i, encoder[i])
            export_layer(model.decoder.stack, i, decoder[i])
        source, target = torch.randint(11, (2, 9)), torch.randint(11, (2, 7))
        mask = torch.arange(9) < torch.tensor([[9], [5]])
        place = torch.arange(9, dtype=torch.float64)
        x, y = (4.0 * model.target_embed(t) + waves(place[: t.shape[1]], D) for t in (source, target))
        for layer in encoder:
            x = layer(x, src_key_padding_mask=~mask)
        for block in decoder:
            later = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
            y = block(y, x, tgt_mask=later, memory_key_padding_mask=~mask, tgt_is_causal=True)
        close("logits", model(source, target, mask), y @ model.target_embed.weight.T)


@identity(
    "the whole = transformers' Marian, an independent Transformer, once converted, biases and masks included"
)
def equals_marian() -> None:
    marian = peer("transformers.models.marian.modeling_marian")
    config = peer("transformers").MarianConfig(
        vocab_size=11, decoder_vocab_size=11, d_model=D, encoder_layers=N, decoder_layers=N, encoder_ffn_dim=F,
        decoder_ffn_dim=F, encoder_attention_heads=H, decoder_attention_heads=H, activation_function="relu",
        scale_embedding=True, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, pad_token_id=10,
        max_position_embeddings=32, eos_token_id=0, forced_eos_token_id=0, decoder_start_token_id=10,
    )  # fmt: skip
    theirs = marian.MarianMTModel(config).double().eval()
    with torch.no_grad():
        theirs.final_logits_bias.normal_()
        perturb(theirs, 0.2, lambda name: "embed_positions" not in name)
        model, source, target = from_marian(theirs), torch.randint(10, (2, 9)), torch.randint(10, (2, 7))
        mask = torch.arange(9) < torch.tensor([[9], [5]])
        y = theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=target).logits
        close("logits", model(source, target, mask), y, 1e-7)  # their table of sinusoids is of float32


@identity("sinusoids of a later place are those of this one, rotated by angles of the distance alone")
def rotation() -> None:
    place, k = torch.arange(50, dtype=torch.float64), 13
    angle = k * 10000.0 ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    sin, cos = waves(place, D).unflatten(-1, (-1, 2)).unbind(-1)
    later = torch.stack([sin * angle.cos() + cos * angle.sin(), cos * angle.cos() - sin * angle.sin()], -1)
    close("p + k", waves(place + k, D), later.flatten(-2))


@identity("decoding token by token, with keys and values kept, gives the logits of all at once")
def cached() -> None:
    model, source, target = ours(), torch.randint(11, (2, 9)), torch.randint(11, (2, 7))
    context = model.encode(source)
    state, rows = model.init_state(2), []
    for token in target.split(1, 1):
        y: Tensor
        y, state = model.stream(token, state, context=context)
        rows.append(y)
    close("logits", torch.cat(rows, 1), model(source, target))

"Proofs of the conditional VAE with transformers: patches, positions, twins of its networks, attention maps, seams."

from itertools import product

import pytest
import torch
from torch import nn

from genlab import UserError
from genlab.lab.layers import idle_parameters
from genlab.vae.vit_cvae import (
    TokenTrunk,
    ViTCVAE,
    ViTDecoder,
    ViTEncoder,
    attention_maps,
    patchify,
    seam_ratio,
    unpatchify,
)

NETS = list(product(("vit", "cnn"), ("vit", "cnn"), ("every", "class")))
SMALL = dict(latent_dim=6, tokens_across=4, width=16, depth=2, n_heads=2, widths=(8, 16), patch=2)


def moved(model: nn.Module, seed: int = 0) -> nn.Module:
    "As after some training: no layer is at its start."
    torch.manual_seed(seed)
    for p in model.parameters():
        nn.init.normal_(p, std=0.2)
    return model.eval()


@pytest.mark.parametrize("channels,rows,columns,p,q", [(3, 4, 4, 2, 2), (1, 2, 5, 3, 2), (2, 1, 3, 4, 1)])
def test_patches_are_cut_row_by_row_and_put_back(channels, rows, columns, p, q):
    x = torch.randn(2, channels, rows * p, columns * q)
    tokens = patchify(x, p, q)
    by_hand = [x[:, :, i * p:(i + 1) * p, j * q:(j + 1) * q].flatten(1) for i in range(rows) for j in range(columns)]
    assert torch.equal(tokens, torch.stack(by_hand, dim=1))
    assert torch.equal(unpatchify(tokens, p, q, rows), x)


@pytest.mark.parametrize("code", ["every", "class"])
def test_patches_that_move_with_their_positions_move_what_is_read(code):
    encoder = moved(ViTEncoder((3, 16, 16), 4, 16, 2, 2, 5, code))
    x, c, order = torch.randn(2, 3, 16, 16), torch.rand(2, 5), torch.randperm(16)
    before = encoder(x, c)
    shuffled = unpatchify(patchify(x, 4, 4)[:, order], 4, 4, 4)
    assert (encoder(shuffled, c) - (before[:, order] if code == "every" else before)).abs().max() > 1e-3
    encoder.positions.data = encoder.positions.data[order]
    after = encoder(shuffled, c)
    torch.testing.assert_close(after, before[:, order] if code == "every" else before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("code", ["every", "class"])
def test_queries_that_move_with_their_code_move_the_patches(code):
    decoder = moved(ViTDecoder((3, 16, 16), 4, 16, 2, 2, 5, 3, code, smoothing=0))
    say, c, order = torch.randn(2, *decoder.in_shape), torch.rand(2, 5), torch.randperm(16)
    before = patchify(decoder(say, c), 4, 4)
    decoder.queries.data = decoder.queries.data[order]
    after = patchify(decoder(say[:, order] if code == "every" else say, c), 4, 4)
    torch.testing.assert_close(after, before[:, order], rtol=1e-4, atol=1e-5)


def test_the_trunk_is_pytorchs_encoder_with_a_label_in_front():
    trunk = moved(TokenTrunk(12, 2, 3, 5)).double()
    layer = nn.TransformerEncoderLayer(12, 3, 48, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64)
    theirs = nn.TransformerEncoder(layer, 2, nn.LayerNorm(12, dtype=torch.float64), enable_nested_tensor=False)
    theirs.norm.load_state_dict(trunk.norm.state_dict())
    for ours, other in zip(trunk.blocks, theirs.layers, strict=True):
        pairs = dict(norm1="norm1", norm2="norm2", out="self_attn.out_proj", mlp_0="linear1", mlp_2="linear2")
        for mine, name in pairs.items():
            other.get_submodule(name).load_state_dict(ours.get_submodule(mine.replace("_", ".")).state_dict())
        other.self_attn.in_proj_weight.data = ours.qkv.weight.data.clone()
        other.self_attn.in_proj_bias.data = ours.qkv.bias.data.clone()
    tokens, c = torch.randn(4, 7, 12).double(), torch.rand(4, 5).double()
    label = c @ trunk.label.weight.T + trunk.label.bias
    want = theirs.eval()(torch.cat([label[:, None], tokens], dim=1))[:, 1:]
    torch.testing.assert_close(trunk(tokens, c), want, rtol=1e-9, atol=1e-9)
    # the weights that are shown are those by which its layers mix values
    maps = attention_maps(trunk, tokens, c)
    h = trunk.start(tokens, c)
    for block, other, weights in zip(trunk.blocks, theirs.layers, maps, strict=True):
        normed = block.norm1(h)
        said = other.self_attn(normed, normed, normed, average_attn_weights=False)[1]
        torch.testing.assert_close(weights, said, rtol=1e-9, atol=1e-9)
        h = block(h)


@pytest.mark.parametrize("encoder,decoder,code", NETS)
@pytest.mark.parametrize("attributes", [False, True])
def test_every_combination_learns_and_hears(encoder, decoder, code, attributes):
    model = ViTCVAE((3, 16, 16), 5, attributes, encoder=encoder, decoder=decoder, code=code, **SMALL)
    g = torch.Generator().manual_seed(0)
    x = torch.rand(6, 3, 16, 16, generator=g) * 2 - 1
    y = torch.rand(6, 5, generator=g) < 0.5 if attributes else torch.arange(6) % 5
    assert idle_parameters(model, lambda: model.loss(x, y)["loss"]) == []
    model = moved(model)
    with torch.no_grad():
        z = torch.randn(6, 6)
        under = [model.decode(z, label) for label in (y, y.roll(1, 0))]
        codes = [model.encode(x, label)[0] for label in (y, y.roll(1, 0))]
    assert (under[0] - under[1]).abs().max() > 1e-3 and (codes[0] - codes[1]).abs().max() > 1e-3
    losses = []
    for images, labels in ((x, y), (x.repeat(2, 1, 1, 1), torch.cat([y, y]))):
        torch.manual_seed(0)
        losses.append(torch.stack([model.loss(images, labels)["loss"].detach() for _ in range(80)]))
    once, twice = losses
    error = (once.var() / 80 + twice.var() / 80).sqrt()
    assert abs(once.mean() - twice.mean()) < 4 * error < 0.05 * abs(once.mean())


def test_only_the_last_convolution_looks_across_an_edge():
    "An output pixel's change when one token's features change stays inside its patch without the convolution."
    for smoothing, reach in ((0, 0), (8, 1)):
        decoder = moved(ViTDecoder((1, 16, 16), 4, 16, 1, 2, 5, 1, smoothing=smoothing))
        features = torch.randn(2, 16, 16)
        features[1] = features[0]
        features[1, 5] += 1  # the token in the second row and column
        x = unpatchify(decoder.to_patch(features), 4, 4, 4)
        x = x if decoder.smooth is None else decoder.smooth(nn.functional.gelu(x))
        say, c = torch.randn(2, *decoder.in_shape), torch.rand(2, 5)
        written = unpatchify(decoder.to_patch(decoder.trunk(say + decoder.queries, c)), 4, 4, 4)
        written = written if decoder.smooth is None else decoder.smooth(nn.functional.gelu(written))
        torch.testing.assert_close(decoder(say, c), written)
        changed = (x[1] - x[0]).abs().amax(dim=0) > 1e-7
        rows = changed.any(dim=1).nonzero().flatten()
        assert rows.min() == 4 - reach and rows.max() == 7 + reach


def test_the_seam_ratio_by_hand():
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)
    assert abs(seam_ratio(ramp + ramp.mT, 4, 4) - 1) < 1e-6
    steps = ramp + 3 * (torch.arange(12) // 4)  # from column to column 1, across an edge 4; from row to row nothing
    assert abs(seam_ratio(steps + steps.mT, 4, 4) - 4) < 1e-6
    assert seam_ratio(steps, 4, 4) == pytest.approx(4)  # the other direction adds nothing to either side
    wide = ramp + 3 * (torch.arange(12) // 6)  # one edge of 4 between columns; two edges of 0 between rows
    assert seam_ratio(wide, 4, 6) == pytest.approx((4 + 0 + 0) / 3 / (10 * 1 / 19))


@pytest.mark.parametrize("settings,said", [
    (dict(tokens_across=5), "16x16 images can't be cut into 5 x 5"),
    (dict(width=15), "multiple of the 2 heads"),
    (dict(decoder="cnn", widths=(4, 4, 4, 4, 4, 4)), "can't be made"),
])
def test_sizes_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(UserError, match=said):
        ViTCVAE((3, 16, 16), 5, **SMALL | settings)

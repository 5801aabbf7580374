"Part 4 beside its twins: other libraries' quantisers, PyTorch's transformer, known distributions, runs that are cut."

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import vector_quantize_pytorch as peers
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2
from torch import nn

from genlab import UserError
from genlab.lab.images import load_images
from genlab.lab.layers import idle_parameters
from genlab.lab.training import fit
from genlab.vq import prior as prior_module
from genlab.vq.parallel import MaskedPrior
from genlab.vq.prior import (
    SHIPPED,
    TokenPrior,
    TokenPriorConfig,
    TokenPriorRecipe,
    encode_all,
    filter_logits,
    fingerprint,
    generate,
    load_pair,
    ngram_nats,
    pair_metrics,
)
from genlab.vq.quantize import FSQ, VectorQuantizer, code_sums, ema_step, nearest, perplexity, rotate_through, usage
from genlab.vq.vqvae import QUANTIZERS, VQVAE, VQVAEConfig, VQVAERecipe, code_counts
from genlab.workshop.runs import create_run

KINDS = list(QUANTIZERS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# quantisers

@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 60), k=st.integers(1, 40), d=st.integers(1, 9), seed=st.integers(0, 10**6))
def test_the_nearest_code_is_the_nearest(n, k, d, seed):
    g = generator(seed)
    x, codes = torch.randn(n, d, generator=g, dtype=torch.float64), torch.randn(k, d, generator=g, dtype=torch.float64)
    assert torch.equal(nearest(x, codes), (x[:, None] - codes).square().sum(dim=2).argmin(dim=1))


def test_pieces_of_the_table_make_no_difference():
    x, codes = torch.randn(5_000, 8, generator=generator()), torch.randn(600, 8, generator=generator(1))
    assert len(x) * len(codes) > 2 * 2**20, "several pieces"
    assert torch.equal(nearest(x, codes), torch.cdist(x, codes).argmin(dim=1))


def test_memory_stays_far_below_the_table_of_differences():
    code = """
import torch
from genlab.vq.quantize import nearest

def peak():  # of this process; its ru_maxrss would begin at the parent's
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 2**10

x, codes = torch.randn(65536, 64), torch.randn(1024, 64)
nearest(x[:2000], codes)
before = peak()
nearest(x, codes)
print(peak() - before)
"""
    used = float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert used < 60, f"{used:.0f} MB; the whole table of distances is 268 MB, that of differences 17,180 MB"


def twin(k: int, d: int, **options):
    "The other library's quantiser and ours with the same codes and the same counts (one code's share of 300 vectors)."
    ours = VectorQuantizer(k, d, start="uniform", restart=False, decay=0.9)
    nn.init.normal_(ours.codebook)
    theirs = peers.VectorQuantize(dim=d, codebook_size=k, decay=0.9, commitment_weight=1.0,
                                  threshold_ema_dead_code=0, eps=1e-12, **options)
    book = theirs._codebook
    book.embed.data.copy_(ours.codebook[None])
    book.embed_avg.data.copy_(ours.codebook[None] * 300 / k)
    book.cluster_size.data.fill_(300 / k)
    book.initted.fill_(True)
    return ours.train(), theirs.train()


def test_codes_losses_and_averages_are_those_of_vector_quantize_pytorch():
    torch.manual_seed(0)
    ours, theirs = twin(20, 6, rotation_trick=False)
    for _ in range(5):
        x = torch.randn(3, 10, 10, 6)
        mine, (z, index, loss) = ours(x.movedim(-1, 1)), theirs(x.flatten(1, 2))
        ours.update()
        assert torch.equal(mine.index.flatten(1), index)
        torch.testing.assert_close(mine.z.movedim(1, -1).flatten(1, 2), z, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(mine.losses["commitment"], loss.squeeze(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ours.codebook, theirs._codebook.embed[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.use * 300 / 20, theirs._codebook.cluster_size[0], rtol=1e-5, atol=1e-5)


def test_the_rotation_is_that_of_vector_quantize_pytorch():
    from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

    g = generator()
    x, code, upstream = (torch.randn(50, 7, generator=g, dtype=torch.float64) for _ in range(3))
    x.requires_grad_()
    mine, theirs = rotate_through(x, code), rotate_to(x, code)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    grads = [torch.autograd.grad((out * upstream).sum(), x)[0] for out in (mine, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("levels", [(8, 8, 8), (8, 5, 5, 5), (3, 4)])
def test_fsq_is_that_of_vector_quantize_pytorch(levels):
    torch.manual_seed(0)
    ours, theirs = FSQ(levels, len(levels)), peers.FSQ(list(levels))
    for linear in (ours.project_in, ours.project_out):
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    x = 2 * torch.randn(4, len(levels), 5, 5)
    out = ours(x)
    z, index = theirs(x)
    torch.testing.assert_close(out.z, z, rtol=1e-5, atol=1e-5)
    assert torch.equal(out.index, index.long())
    torch.testing.assert_close(ours.lookup(out.index), out.z)


@pytest.mark.parametrize("kind", KINDS)
def test_every_quantizer_gives_gradients_and_comes_back(kind):
    torch.manual_seed(0)
    layer = QUANTIZERS[kind](12, 6, (4, 3)).train()
    h = torch.randn(2, 6, 4, 5, requires_grad=True)
    out = layer(h)
    assert out.z.shape == h.shape and out.index.shape == (2, 4, 5) \
        and 0 <= out.index.min() and out.index.max() < layer.n_codes
    (out.z.square().sum() + sum(out.losses.values())).backward()
    assert h.grad.isfinite().all() and h.grad.abs().sum() > 0
    layer.update()
    layer.eval()
    out = layer(h)
    torch.testing.assert_close(layer.lookup(out.index), out.z, rtol=1e-5, atol=1e-5)
    assert torch.equal(layer(h).index, out.index), "no changes in eval"
    assert not layer.seen if hasattr(layer, "seen") else True


def test_commitment_moves_vectors_and_codebook_loss_moves_codes():
    torch.manual_seed(0)
    layer = VectorQuantizer(8, 4, "gradient", "uniform")
    h = torch.randn(2, 4, 3, 3, requires_grad=True)
    losses = layer(h).losses
    for name, moved, still in (("commitment", h, layer.codebook), ("codebook", layer.codebook, h)):
        grads = torch.autograd.grad(losses[name], [moved, still], allow_unused=True, retain_graph=True)
        assert grads[0].abs().sum() > 0 and grads[1] is None


def test_dead_codes_come_back_only_with_restart():
    torch.manual_seed(0)
    x = torch.randn(4, 4, 8, 8) + 5
    in_use = {}
    for restart in (False, True):
        layer = VectorQuantizer(32, 4, start="uniform", restart=restart, decay=0.8).train()
        for _ in range(100):
            layer(x)
            layer.update()
        in_use[restart] = usage(torch.bincount(layer.eval()(x).index.flatten(), minlength=32))
    assert in_use[False] < 0.2 and in_use[True] > 0.9


def test_notes_of_two_shards_are_those_of_the_batch():
    torch.manual_seed(0)
    x = torch.randn(8, 4, 5, 5)
    results = []
    for parts in ([x], [x[:4], x[4:]]):
        torch.manual_seed(1)
        layer = VectorQuantizer(16, 4, start="uniform", restart=False).train()
        for part in parts:
            layer(part)
        layer.update()
        results.append(layer.codebook.clone())
    torch.testing.assert_close(*results, rtol=1e-6, atol=1e-6)


def test_ema_keeps_unused_codes_for_ever():
    codes, use = torch.randn(3, 2, generator=generator()), torch.ones(3)
    start = codes.clone()
    for _ in range(20_000):
        counts, sums = code_sums(torch.ones(5, 2), torch.zeros(5, dtype=torch.int64), 3)
        codes, use = ema_step(codes, use, counts, sums, 0.99)
    torch.testing.assert_close(codes[1:], start[1:], rtol=0, atol=0)
    torch.testing.assert_close(codes[0], torch.ones(2))


def test_perplexity_and_usage():
    counts = torch.tensor([1, 1, 2, 0])
    assert perplexity(counts) == pytest.approx(2**1.5) and usage(counts) == 0.75


# the VQ-VAE

@pytest.fixture(scope="module")
def splits(few_images):
    return {split: load_images("fashion_mnist", split, root=few_images) for split in ("train", "validation", "test")}


SMALL = dict(n_codes=16, dim=8, widths=(8, 16), batch_size=32, steps=60)


@pytest.fixture(scope="module")
def trained(splits):
    torch.manual_seed(0)
    recipe = VQVAERecipe(VQVAEConfig(**SMALL), splits)
    return recipe, fit(recipe, recipe.data, steps=60, batch_size=32)[0]


@pytest.mark.parametrize("form", ["conv", "residual"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_shapes_and_parts_of_the_loss(form, shape):
    torch.manual_seed(0)
    model = VQVAE(shape, n_codes=16, dim=8, widths=(8, 16), form=form, quantizer="gradient")
    x = torch.rand(2, *shape) * 2 - 1
    parts = model.loss(x)
    assert list(parts)[0] == "loss" \
        and parts["loss"].item() == pytest.approx(sum(v.item() for k, v in parts.items() if k != "loss"), rel=1e-5)
    assert model.encode(x).shape == (2, *model.map_shape) and model.reconstruct(x).shape == x.shape
    assert model.sample(3, generator=generator()).shape == (3, *shape)


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading_gives_the_same_images(kind, tmp_path):
    torch.manual_seed(0)
    model = VQVAE((1, 16, 16), n_codes=16, dim=8, widths=(8, 8), quantizer=kind, levels=(4, 4)).train()
    x = torch.rand(4, 1, 16, 16) * 2 - 1
    model.loss(x)
    model.quantizer.update()
    model.eval().save_pretrained(tmp_path)
    again = VQVAE.from_pretrained(tmp_path).eval()
    assert torch.equal(again.reconstruct(x), model.reconstruct(x)) and fingerprint(again) == fingerprint(model)


def test_evaluation_says_what_it_costs(trained):
    recipe, model = trained
    values = recipe.evaluate(model.cpu(), 0)
    assert {"fid", "mse", "ssim", "reconstruction_fid", "bits_per_dim", "word_nats",
            "usage", "perplexity"} <= values.keys()
    assert values["usage"]["value"] == pytest.approx(usage(code_counts(model, recipe.splits["test"].x)))
    x = recipe.splits["test"][torch.arange(100)][0]
    back, u = model.reconstruct(x), (torch.rand(400, 100, 1, 28, 28, generator=generator()) - 0.5) * 2 / 255
    by_chance = (392 * (model.error.log() + np.log(2 * np.pi))
                 + (x + u - back).square().flatten(2).sum(dim=2).mean(dim=0) / (2 * model.error))
    torch.testing.assert_close(model.pixel_nats(x), by_chance.detach(), rtol=1e-3, atol=0.1)


def test_a_run_in_pieces_is_the_whole_run(splits, tmp_path):
    class Dying(VQVAERecipe):
        left = 23

        def step(self, update, t):
            self.left -= 1
            if self.left < 0:
                raise RuntimeError("killed")
            return super().step(update, t)

    def train(cls, **kwargs):
        torch.manual_seed(0)
        recipe = cls(VQVAEConfig(**SMALL), splits)
        return fit(recipe, recipe.data, steps=40, batch_size=32, save_every=9, **kwargs)

    run = create_run(tmp_path / "run", dict(model="vqvae"))
    with pytest.raises(RuntimeError, match="killed"):
        train(Dying, out=run)
    (pieces, a), (whole, b) = train(VQVAERecipe, out=run), train(VQVAERecipe)
    torch.testing.assert_close(pieces.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert a.log == b.log


# priors

def test_logits_are_those_of_pytorchs_transformer():
    torch.manual_seed(0)
    ours = TokenPrior(11, (3, 4), n_labels=5, d_model=24, depth=3, n_heads=4).eval()
    layer = nn.TransformerEncoderLayer(24, 4, 96, activation="gelu", batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    for mine, other in zip(ours.blocks, theirs.layers, strict=True):
        for a, b in ((mine.norm1, other.norm1), (mine.norm2, other.norm2), (mine.out, other.self_attn.out_proj),
                     (mine.mlp[0], other.linear1), (mine.mlp[2], other.linear2)):
            b.load_state_dict(a.state_dict())
        other.self_attn.in_proj_weight.data = mine.qkv.weight.data
        other.self_attn.in_proj_bias.data = mine.qkv.bias.data
    index, y = torch.randint(11, (6, 12)), torch.randint(5, (6,))
    c = ours.condition(y, 6)
    x = torch.cat([c[:, None], ours.word(index[:, :-1])], dim=1) + (ours.row + ours.column).reshape(12, 24)
    expected = ours.head(ours.norm(theirs(x, mask=nn.Transformer.generate_square_subsequent_mask(12), is_causal=True)))
    torch.testing.assert_close(ours.logits(index, c), expected, rtol=1e-5, atol=1e-5)
    loss = ours.loss(index.view(6, 3, 4), y)["loss"]
    by_hand = -expected.log_softmax(dim=2).gather(2, index[..., None]).sum() / 6
    torch.testing.assert_close(loss, by_hand, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("knobs", [{}, dict(guidance=3.0), dict(temperature=0.7, top_k=5),
                                   dict(top_p=0.6, guidance=0.0)])
def test_the_cache_changes_nothing(knobs):
    torch.manual_seed(0)
    model = TokenPrior(11, (3, 4), n_labels=5, d_model=24, depth=2).eval()
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    y = torch.randint(5, (20,))
    a, b = (model.sample(20, y, generator=generator(), cache=cache, **knobs) for cache in (True, False))
    assert torch.equal(a, b)


def test_samples_follow_the_models_own_probabilities():
    torch.manual_seed(0)
    model = TokenPrior(6, (1, 2), n_labels=2, d_model=16, depth=1).eval()
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    n, y = 20_000, torch.tensor([1])
    tokens = model.sample(n, y.expand(n), generator=generator()).view(n, 2)
    with torch.no_grad():
        c = model.condition(y, 1)
        first = model.logits(torch.zeros(1, 2, dtype=torch.int64), c)[0, 0].softmax(dim=0)
        second = torch.stack([model.logits(torch.tensor([[k, 0]]), c)[0, 1].softmax(dim=0) for k in range(6)])
    expected = n * (first[:, None] * second).flatten()
    observed = torch.bincount(tokens[:, 0] * 6 + tokens[:, 1], minlength=36)
    keep = expected > 5
    statistic = ((observed - expected)[keep] ** 2 / expected[keep]).sum().item()
    assert statistic < chi2.ppf(0.9999, int(keep.sum()) - 1)


def test_guidance_is_a_step_along_the_difference_of_logits(monkeypatch):
    torch.manual_seed(0)
    model = TokenPrior(6, (1, 1), n_labels=2, d_model=16, depth=1).eval()
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    seen = []
    monkeypatch.setattr(prior_module, "filter_logits", lambda *args: seen.append(args[0]) or filter_logits(*args))
    model.sample(1, torch.tensor([1]), guidance=2.5)
    with torch.no_grad():
        with_label, without = (model.logits(torch.zeros(1, 1, dtype=torch.int64), model.condition(y, 1))[:, 0]
                               for y in (torch.tensor([1]), None))
    torch.testing.assert_close(seen[0], without + 2.5 * (with_label - without))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9), p=st.floats(0.05, 1.0))
def test_top_k_and_top_p_keep_what_they_say(seed, k, p):
    logits = torch.randn(3, 8, generator=generator(seed), dtype=torch.float64)
    full = logits.softmax(dim=1)
    kept = filter_logits(logits, top_k=k).isfinite()
    assert (kept.sum(dim=1) == min(k, 8)).all()
    kept = filter_logits(logits, top_p=p).isfinite()
    share = (full * kept).sum(dim=1)
    assert (share >= p - 1e-9).all() and kept.any(dim=1).all()
    least = torch.where(kept, full, 2.0).min(dim=1).values
    assert (share - least < p).all(), "the smallest such set"
    assert (torch.where(kept, 0.0, full).max(dim=1).values <= least).all(), "the likeliest ones"


def test_no_knob_is_no_change():
    logits = torch.randn(5, 8, generator=generator())
    assert torch.equal(filter_logits(logits, 1.0, 8, 1.0), logits)


@pytest.mark.parametrize("levels", [(8, 8, 8), (8, 5, 5, 5), (2, 3)])
def test_every_code_of_fsq_is_a_point_of_its_own(levels):
    layer, n = FSQ(levels, len(levels)).eval(), np.prod(levels)
    for linear in (layer.project_in, layer.project_out):
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    points = layer.vectors(torch.arange(n)).detach()
    assert len(points.unique(dim=0)) == n == layer.n_codes
    digits = (points * (layer.levels // 2)).round() + layer.levels // 2
    assert torch.equal((digits * layer.places).sum(dim=1).long(), torch.arange(n))


@pytest.mark.parametrize("cls", [TokenPrior, MaskedPrior])
def test_every_parameter_of_a_prior_learns(cls):
    torch.manual_seed(0)
    model = cls(9, (3, 3), n_labels=3, d_model=16, depth=2, dropout=0.0, label_dropout=0.5)
    index, y = torch.randint(9, (64, 3, 3)), torch.randint(3, (64,))
    assert idle_parameters(model, lambda: model.loss(index, y)["loss"]) == []


def test_bigrams_cost_what_they_cost():
    tokens = torch.tensor([[0, 1, 0, 1], [0, 1, 0, 1]]).repeat(500, 1)
    unigram, bigram = ngram_nats(tokens, tokens, 2)
    assert unigram == pytest.approx(np.log(2), abs=1e-3) and bigram == pytest.approx(np.log(2) / 4, abs=2e-3)


def test_labels_are_used_and_forgotten_as_asked(splits, trained):
    torch.manual_seed(0)
    model = TokenPrior(16, (7, 7), label_dropout=0.1)
    y = torch.randint(10, (4_000,))
    c = model.condition(y, 4_000)
    dropped = (model.forget(c, 0.1) == model.no_label).all(dim=1).float().mean().item()
    assert 0.08 < dropped < 0.12
    assert torch.equal(model.condition(torch.tensor([-1]), 1), model.condition(None, 1))
    assert not torch.equal(model.condition(torch.tensor([0]), 1), model.condition(torch.tensor([1]), 1))


@pytest.mark.parametrize("cls", [TokenPrior, MaskedPrior])
@pytest.mark.parametrize("attributes", [False, True])
def test_priors_learn_sample_save_and_load(cls, attributes, tmp_path):
    torch.manual_seed(0)
    model = cls(9, (3, 3), n_labels=4, attributes=attributes, d_model=16, depth=1, dropout=0.0)
    y = torch.rand(64, 4) < 0.5 if attributes else torch.randint(4, (64,))
    first = y[:, 0].long() if attributes else y
    index = (first[:, None, None] + torch.arange(9).view(3, 3)) % 9  # the label says it all
    before = model.loss(index, y)["loss"].item()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        opt.zero_grad()
        model(index, y)["loss"].backward()
        opt.step()
    model.eval()
    torch.manual_seed(0)
    assert model.loss(index, y)["loss"].item() < 0.2 * before
    other = y.roll(1, dims=0)
    assert model.loss(index, other)["loss"].item() > 2 * model.loss(index, y)["loss"].item() or cls is MaskedPrior
    model.save_pretrained(tmp_path)
    again = cls.from_pretrained(tmp_path).eval()
    assert torch.equal(*(m.sample(5, y[:5], generator=generator(), guidance=2.0) for m in (model, again)))
    assert model.sample(5, generator=generator()).shape == (5, 3, 3)


def test_parallel_decoding_fixes_tokens_once(monkeypatch):
    torch.manual_seed(0)
    model = MaskedPrior(9, (4, 4), n_labels=2, d_model=16, depth=1).eval()
    seen, logits = [], MaskedPrior.logits
    monkeypatch.setattr(MaskedPrior, "logits",
                        lambda self, index, c: seen.append(index.clone()) or logits(self, index, c))
    final = model.sample(6, steps=8, generator=generator()).flatten(1)
    hidden = [(index == 9).sum(dim=1).tolist() for index in seen]
    assert hidden[0] == [16] * 6 and all(len(set(row)) == 1 for row in hidden), "the same number in each map"
    counts = [row[0] for row in hidden] + [0]
    assert counts == [16] + [int(16 * np.cos(np.pi / 2 * i / 8)) for i in range(1, 8)] + [0]
    for index in seen:
        known = index != 9
        assert torch.equal(index[known], final[known]), "what is fixed stays"


def test_a_prior_refuses_another_vqvae(splits, trained):
    _, vqvae = trained
    codes = encode_all(vqvae.cpu(), splits)
    torch.manual_seed(0)
    recipe = TokenPriorRecipe(TokenPriorConfig(d_model=16, depth=1, batch_size=32), codes)
    model, progress = fit(recipe, codes["train"], steps=30, batch_size=32)
    assert progress.log[-1]["loss"] < progress.log[0]["loss"]
    values = recipe.evaluate(model.cpu(), 0)
    assert {"fid", "nats_per_word", "unigram", "bigram", "bits_per_dim", "label_agreement"} <= values.keys() \
        and "mse" not in values
    images = generate(model, vqvae, 3, torch.tensor([0, 1, 2]), seed=0)
    assert images.shape == (3, 1, 28, 28) \
        and torch.equal(images, generate(model, vqvae, 3, torch.tensor([0, 1, 2]), seed=0))
    other = copy.deepcopy(vqvae)
    other.decoder[-2].weight.data.view(-1)[0] += 1e-6
    with pytest.raises(UserError, match="another VQ-VAE"):
        generate(model, other, 1)
    with pytest.raises(UserError, match="from -1 to 9"):
        generate(model, vqvae, 1, torch.tensor([10]))
    with pytest.raises(UserError, match="at least one"):
        generate(model, vqvae, 0)
    with pytest.raises(UserError, match="shape"):
        encode_all(vqvae, dict(train=load_images("shapes", "test", n=10)))


def test_classes_of_attention_see_no_future():
    torch.manual_seed(0)
    model = TokenPrior(7, (2, 3), n_labels=2, d_model=16, depth=2).eval()
    index, c = torch.randint(7, (1, 6)), model.condition(None, 1)
    embedded = model.word(index[:, :-1]).detach().requires_grad_()
    x = torch.cat([c[:, None], embedded], dim=1) + model.positions()
    for t in range(6):
        grad = torch.autograd.grad(model.to_logits(x, True)[0, t].sum(),
                                   embedded, retain_graph=True)[0][0].abs().sum(dim=1)
        assert (grad[:t] > 0).all() and (grad[t:] == 0).all()


def test_a_first_token_never_trained_is_another_distribution():
    "The seed's start token: trained with one, sampled with another."
    torch.manual_seed(0)
    model = TokenPrior(8, (1, 1), n_labels=2, d_model=16, depth=1, label_dropout=0.0, dropout=0.0)
    nn.init.normal_(model.label.weight)
    index = torch.randint(2, (256, 1, 1))  # only the tokens 0 and 1 occur
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        opt.zero_grad()
        model(index, torch.zeros(256, dtype=torch.int64))["loss"].backward()
        opt.step()
    right, wrong = (F.softmax(model.eval().logits(index[:1].flatten(1),
                                                  model.condition(torch.tensor([y]), 1))[0, 0], dim=0)
                    for y in (0, 1))
    assert right[:2].sum() > 0.98 and wrong[:2].sum() < right[:2].sum() - 0.01


def test_the_pair_that_ships_is_small_and_as_good_as_its_record_says():
    assert sum(p.stat().st_size for p in SHIPPED.iterdir()) < 2e6
    vqvae, prior, record = load_pair()
    again = pair_metrics(vqvae, prior, load_images("fashion_mnist", "test"))
    for name in ("fid", "reconstruction_fid", "nats_per_word", "label_agreement"):
        assert again[name]["value"] == pytest.approx(record["metrics"][name]["value"], rel=0.03), name
        assert again[name]["n"] == record["metrics"][name]["n"]
    assert again["label_agreement"]["value"] > 0.85 and again["fid"]["value"] < 2.5


def test_a_folder_without_a_pair_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="holds no pair.json"):
        load_pair(tmp_path)


def test_the_commitment_counts_a_quarter():
    torch.manual_seed(0)
    model, x = VQVAE((1, 8, 8), n_codes=8, dim=4, widths=(8,)).eval(), torch.rand(3, 1, 8, 8) * 2 - 1
    with torch.no_grad():
        parts, out = model.loss(x), model.quantizer(model.to_codes(model.encoder(x)))
    # half of the pixels, as in the likelihood
    torch.testing.assert_close(parts["commitment"], 0.25 * 0.5 * 64 * out.losses["commitment"])
    assert parts["commitment"] > 0

"Autoencoders and VAEs of images: proofs in another way than the chapters', and the command line on images."

import json
import math
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from processes import instead
from scipy.stats import logistic
from sklearn.decomposition import PCA
from torch.distributions import Normal, kl_divergence

from genlab import UserError, cli
from genlab.lab.images import load_images, to_float
from genlab.lab.layers import ConvDecoder, ConvEncoder, idle_parameters
from genlab.vae.autoencoder import AutoEncoder, CodeDensity, principal_components
from genlab.vae.vae import PIXELS, VAE, GaussianPixels, LogisticPixels, elbo_and_bits

SMALL = ["--budget", "smoke", "--latent-dim", "3", "--widths", "8", "16",
         "--steps", "12", "--batch-size", "32", "--components", "2"]


@pytest.fixture(scope="module")
def images(few_images):
    return load_images("fashion_mnist", "test", root=few_images)


@given(mean=st.floats(-2, 2), log_scale=st.floats(-6.9, 1.5), level=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_level_has_the_mass_of_a_logistic(mean, log_scale, level):
    x = to_float(torch.tensor([level], dtype=torch.uint8)).view(1, 1, 1, 1)
    ours = LogisticPixels()(x, torch.tensor([mean, log_scale]).view(1, 2, 1, 1)).item()
    distribution = logistic(loc=np.float32(mean), scale=math.exp(np.float32(log_scale)))
    low, high = (level * 2 - 1) / 255 - 1, (level * 2 + 1) / 255 - 1
    if level == 0:
        exact = distribution.logcdf(high)
    elif level == 255:
        exact = distribution.logsf(low)
    else:  # the smaller tail, where differences keep their digits
        exact = np.log(distribution.sf(low) - distribution.sf(high)
                       if mean < low else distribution.cdf(high) - distribution.cdf(low))
    if math.isfinite(exact) and exact > -200:
        assert ours == pytest.approx(exact, abs=2e-2, rel=2e-3)
    else:
        assert ours < -150


def test_logistic_gradients_are_finite_at_the_edges():
    out = torch.tensor([[5.0, -9.0], [-5.0, -9.0], [0.0, 9.0], [1.0, -7.0]]).view(4, 2, 1, 1).requires_grad_()
    for value in (-1.0, 0.0, 1.0):
        LogisticPixels()(torch.full((4, 1, 1, 1), value), out).sum().backward()
    assert out.grad.isfinite().all()


def test_gaussian_pixels_in_another_way(images):
    x = images[torch.arange(20)][0]
    out = x + 0.3 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    rmse = (x - out).square().mean().sqrt()
    torch.testing.assert_close(GaussianPixels()(x, out), Normal(out, rmse).log_prob(x).flatten(1).sum(1),
                               rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(GaussianPixels("unit")(x, out), Normal(out, 1.0).log_prob(x).flatten(1).sum(1),
                               rtol=1e-4, atol=1e-2)
    fixed = GaussianPixels().eval()
    fixed.fixed.fill_(math.log(0.7))
    torch.testing.assert_close(fixed(x, out), Normal(out, 0.7).log_prob(x).flatten(1).sum(1), rtol=1e-4, atol=1e-2)
    tiny = GaussianPixels()(x, x)  # a perfect reconstruction: sigma stops at exp(-6)
    assert tiny.isfinite().all() and tiny[0] == pytest.approx(784 * (6 - 0.5 * math.log(2 * math.pi)), rel=1e-4)


@pytest.mark.parametrize("pixels", PIXELS)
def test_the_loss_is_its_parts_and_the_kl_that_of_torch(images, pixels):
    torch.manual_seed(0)
    x, model = images[torch.arange(32)][0], VAE(images.shape, 5, (8, 16), pixels=pixels)
    mu, logvar = model.encode(x)
    parts = model.loss(x)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(parts["kl"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts["loss"], parts["reconstruction"] + parts["kl"])
    assert idle_parameters(model, lambda: model.loss(x)["loss"]) == []


def test_nothing_depends_on_the_size_of_the_batch(images):
    torch.manual_seed(0)
    x = images[torch.arange(16)][0]
    for model in (AutoEncoder(images.shape, 4, (8, 16)), VAE(images.shape, 4, (8, 16))):
        model.eval()
        if isinstance(model, VAE):
            model.terms = lambda x, y=None, m=model: (-m.pixels(x, m.decode_all(m.encode(x)[0])), torch.ones(len(x), 4))
        torch.testing.assert_close(model.loss(x)["loss"], model.loss(torch.cat([x, x, x]))["loss"],
                                   rtol=1e-5, atol=1e-3)


def test_the_bound_grows_with_k_and_its_first_is_the_elbo(images):
    torch.manual_seed(0)
    x, model = images[torch.arange(8)][0], VAE(images.shape, 3, (8, 16), pixels="unit").eval()
    with torch.no_grad():
        elbo = torch.stack([-model.loss(x)["loss"] for _ in range(400)])
        bounds = [torch.stack([model.iwae(x, k).mean() for _ in range(40)]).mean() for k in (1, 4, 16)]
    assert bounds[0] < bounds[1] < bounds[2]
    assert abs(bounds[0] - elbo.mean()) < 5 * elbo.std() / math.sqrt(400) + 5 * elbo.std() / math.sqrt(40)


def test_bits_of_a_gaussian_that_knows_the_data():
    data = load_images("shapes", "test", n=300)
    model = VAE(data.shape, 2, (8, 16))
    model.encode = lambda x, y=None: (torch.zeros(len(x), 2), torch.zeros(len(x), 2))
    model.decode_all = lambda z, y=None: torch.zeros(len(z), *data.shape)
    model.eval().pixels.fixed.fill_(0.0)
    x = to_float(data.x).double()
    by_hand = (0.5 * math.log(2 * math.pi)
               + 0.5 * (x.square().mean() + (2 / 255) ** 2 / 12)) / math.log(2) + math.log2(127.5)
    assert elbo_and_bits(model, data)["bits_per_dim"]["value"] == pytest.approx(by_hand.item(), abs=1e-3)


def test_principal_components_are_scikit_learns(images):
    x = images[torch.arange(300)][0]
    mean, V, eigenvalues = principal_components(x, 6)
    twin = PCA(6).fit(x.flatten(1).double().numpy())
    np.testing.assert_allclose(eigenvalues[:6] * 300 / 299, twin.explained_variance_, rtol=1e-3)
    np.testing.assert_allclose(np.abs(V.T.numpy() @ twin.components_.T), np.eye(6), atol=1e-2)
    np.testing.assert_allclose(mean, twin.mean_, atol=1e-5)


def test_density_of_long_codes_keeps_means_and_spreads():
    g = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.1, 3, 200)
    z = torch.randn(5_000, 200, generator=g) * scale + 2
    density = CodeDensity(200, 3).fit(z, z.var(dim=0))
    drawn = density.sample(5_000, generator=g)
    assert set(density.together.tolist()) == set(range(72, 200)), "the most variable ones are modelled together"
    torch.testing.assert_close(drawn.mean(0), z.mean(0), atol=0.2, rtol=0)
    torch.testing.assert_close(drawn.std(0), z.std(0), atol=0.05, rtol=0.06)


@pytest.mark.parametrize("shape,widths,patch", [((1, 28, 28), (8, 16), 2), ((3, 32, 32), (8, 12, 16), 1),
                                                ((3, 64, 48), (4, 8, 8), 4)])
def test_decoder_mirrors_encoder(shape, widths, patch):
    encoder, decoder = ConvEncoder(shape, widths, patch), ConvDecoder(shape, widths, patch)
    h = encoder(torch.randn(2, *shape))
    assert tuple(h.shape[1:]) == encoder.out_shape == decoder.in_shape and tuple(decoder(h).shape[1:]) == shape
    with pytest.raises(UserError, match="multiple of"):
        ConvEncoder((shape[0], shape[1] + 1, shape[2]), widths, max(2, patch))


@pytest.mark.parametrize("make", [lambda: AutoEncoder((1, 28, 28), 3, (8,)),
                                  lambda: VAE((3, 32, 32), 3, (8, 16), pixels="logistic")])
def test_saved_and_read_back(tmp_path, make):
    torch.manual_seed(0)
    model = make()
    model.density.mean.add_(1)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    draws = [m.eval().sample(5, generator=torch.Generator().manual_seed(1)) for m in (model, again)]
    assert torch.equal(*draws) and [p.name for p in tmp_path.glob("*.safetensors")] == ["model.safetensors"]


def genlab(*args, cwd, data, check=True):
    env = {**os.environ, "GENLAB_DATA": str(data), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "genlab.cli", *map(str, args)], cwd=cwd, env=env,
                          capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def work(tmp_path_factory, few_images):
    folder = tmp_path_factory.mktemp("images")
    for model in ("ae", "vae"):
        genlab("train", model, *SMALL, "--out", model, cwd=folder, data=few_images)
    return folder


def test_a_run_on_images_is_whole(work):
    for model in ("ae", "vae"):
        names = {p.name for p in (work / model).iterdir()}
        assert names >= {"config.yaml", "log.csv", "samples", "state", "model.safetensors", "metrics.json", "loss.png"}
        metrics = json.loads((work / model / "metrics.json").read_text())
        for name in ("fid", "kid", "precision", "recall"):
            assert metrics[name]["n"] == 200 and "fashion_mnist" in metrics[name]["extractor"] \
                and "floor" in metrics[name]
        assert metrics["ssim"]["n"] == metrics["mse"]["n"] == 400 and metrics["data"] == "fashion_mnist"
        assert ("bits_per_dim" in metrics and "elbo" in metrics) == (model == "vae")


def test_sampling_needs_no_data_and_repeats(work, tmp_path):
    for out in ("a.npy", "b.npy", "page.png"):
        genlab("sample", work / "vae", "-n", 20, "--seed", 3, "--out", tmp_path / out,
               cwd=tmp_path, data=tmp_path / "nothing")
    a, b = np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy")
    assert a.shape == (20, 1, 28, 28) and a.dtype == np.uint8 and np.array_equal(a, b)
    assert Image.open(tmp_path / "page.png").mode == "RGB"


def test_evaluating_again_gives_the_same(work, few_images):
    before = json.loads((work / "vae" / "metrics.json").read_text())
    genlab("evaluate", "vae", cwd=work, data=few_images)
    after = json.loads((work / "vae" / "metrics.json").read_text())
    assert all(before[k] == after[k] for k in ("fid", "kid", "ssim", "bits_per_dim", "elbo", "seconds", "processes"))


def test_refusals_on_images(work, few_images, monkeypatch, capsys):
    monkeypatch.chdir(work)
    monkeypatch.setenv("GENLAB_DATA", str(few_images))
    shutil.copytree(work / "vae", work / "bare", dirs_exist_ok=True)
    text = (work / "bare" / "config.yaml").read_text()
    (work / "bare" / "config.yaml").write_text("\n".join(line for line in text.splitlines()
                                                         if not line.startswith(("shape", "- "))) + "\n")
    for args, said in [
        (("train", "vae", *instead(SMALL, "--widths", "8", "8", "8", "8")), "multiple of 16"),
        (("train", "vae", *instead(SMALL, "--widths", "0")), "at least 1"),
        (("train", "vae", *instead(SMALL, "--components", "5000")), "Choose fewer"),
        (("train", "ae", *SMALL, "--accumulate", "0"), "at least 1"),
        (("train", "ae", *SMALL, "--size", "-3"), "size"),
        (("train", "vae", *SMALL, "--out", "vae"), "exists"),
        (("sample", "vae", "-n", "0"), "at least 1"),
        (("sample", "bare"), "config.yaml"),
    ]:
        monkeypatch.setattr(sys, "argv", ["genlab", *map(str, args)])
        assert cli.main() == 2, args
        err = capsys.readouterr().err
        assert said in err and len(err.strip().splitlines()) == 1, (args, err)
    for args in (("train", "vae", "--data", "imagenet"), ("train", "vae", "--pixels", "wet")):
        assert genlab(*args, cwd=work, data=few_images, check=False).returncode == 2


def test_every_data_set_by_the_same_code(tmp_path, few_images):
    genlab("train", "ae", *instead(SMALL, "--steps", "3"), "--data", "shapes", "--size", "16",
           "--out", "small", cwd=tmp_path, data=few_images)
    metrics = json.loads((tmp_path / "small" / "metrics.json").read_text())
    assert metrics["data"] == "shapes" and "shapes" in metrics["fid"]["extractor"]


def test_the_autoencoders_loss_is_half_the_squared_error():
    torch.manual_seed(0)
    model, x = AutoEncoder((1, 16, 16), 4, (8, 8)).eval(), torch.rand(5, 1, 16, 16) * 2 - 1
    with torch.no_grad():
        expected = sum(0.5 * (a - b).square().sum() for a, b in zip(x, model.reconstruct(x), strict=True)) / 5
        assert model.loss(x)["loss"].item() == pytest.approx(expected.item(), rel=1e-5)

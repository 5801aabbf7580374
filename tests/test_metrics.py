"""Metrics of images against their twins in other libraries and in closed-form situations;
the shipped classifiers against their records."""

import json
import math
import subprocess
import sys
import urllib.error
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch.nn.functional as F
import torch_fidelity.metric_fid as tf_fid
import torch_fidelity.metric_isc as tf_isc
import torch_fidelity.metric_kid as tf_kid
import torch_fidelity.metric_prc as tf_prc
import torchmetrics.functional.image as tmf
import torchmetrics.image as tm
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity as skimage_ssim

from genlab import UserError
from genlab.lab.images import DataMissing, ImageSet, load_images, to_float, to_uint8
from genlab.lab.metrics import (
    Extractor,
    FeatureStats,
    SmallClassifier,
    accuracy,
    bce,
    bits_per_dim,
    density_coverage,
    evaluate_images,
    feature_stats,
    fit_classifier,
    frechet_distance,
    frechet_from_features,
    gaussian_kl,
    inception_extractor,
    inception_score,
    kid,
    kid_subsets,
    load_extractor,
    ms_ssim,
    ms_ssim_weights,
    mse,
    precision_recall,
    psnr,
    reference_features,
    ssim,
    train_classifier,
)

SHIPPED = Path(__file__).resolve().parent.parent / "genlab" / "lab" / "classifiers"


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=4, channels=3, size=40, seed=0):
    "Pairs of smooth random images and noisy copies, in [-1, 1]."
    g = generator(seed)
    a = F.interpolate(torch.randn(n, channels, 8, 8, generator=g), size=(size, size + 3), mode="bicubic").clamp(-1, 1)
    return a, (a + 0.3 * torch.randn(a.shape, generator=g)).clamp(-1, 1)


def unit(x):
    "To [0, 1], what the libraries' SSIM takes for granted."
    return (x + 1) / 2


def features(n, d, seed=0, shift=0.0):
    "Correlated, skewed features."
    g = generator(seed)
    return (torch.randn(n, d, generator=g) @ torch.randn(d, d, generator=g) / math.sqrt(d)).relu() + shift


@pytest.fixture(scope="module")
def fashion() -> ImageSet:
    try:
        return load_images("fashion_mnist", "test")
    except DataMissing:
        pytest.skip("Fashion-MNIST is missing: apt-get install dataset-fashion-mnist")


# --- pairs ---


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 3), channels=st.sampled_from([1, 3]), size=st.integers(12, 70), seed=st.integers(0, 99))
def test_ssim_is_torchmetrics_with_reflection_and_scikit_images_without(n, channels, size, seed):
    a, b = images(n, channels, size, seed)
    theirs = tmf.structural_similarity_index_measure(unit(b), unit(a), data_range=1.0, reduction="none")
    torch.testing.assert_close(ssim(a, b), theirs.reshape(n), atol=1e-4, rtol=0)
    arrays = [(p.double().permute(1, 2, 0).numpy(), q.double().permute(1, 2, 0).numpy())
              for p, q in zip(unit(a), unit(b), strict=True)]
    how = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=2)
    torch.testing.assert_close(ssim(a, b, "valid").double(),
                               torch.tensor([skimage_ssim(p, q, **how) for p, q in arrays]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("size,scales", [(28, 2), (32, 2), (64, 3), (96, 4), (180, 5)])
def test_ms_ssim_is_torchmetrics(size, scales):
    a, b = images(3, 1, size)
    weights = ms_ssim_weights(size)
    assert len(weights) == scales and weights.sum() == pytest.approx(1)
    # kernel_size only serves a check of the image's size there, which is too strict; the Gaussian window has its own
    how = dict(data_range=1.0, kernel_size=3, betas=tuple(weights.tolist()), normalize="relu", reduction="none")
    theirs = tmf.multiscale_structural_similarity_index_measure(unit(b), unit(a), **how)
    torch.testing.assert_close(ms_ssim(a, b), theirs.reshape(3), atol=1e-4, rtol=0)


def test_five_scales_have_the_papers_weights():
    torch.testing.assert_close(ms_ssim_weights(176), torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]),
                               atol=1e-4, rtol=0)


def test_ms_ssim_valid_is_the_product_of_its_parts():
    a, b = images(2, 1, 28)
    parts = []
    for x, y in ((a, b), (F.avg_pool2d(a, 2), F.avg_pool2d(b, 2))):
        how = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0)
        parts.append([skimage_ssim(p[0].double().numpy(), q[0].double().numpy(), **how)
                      for p, q in zip(unit(x), unit(y), strict=True)])
    w = ms_ssim_weights(28)
    ours = ms_ssim(a, b, "valid")
    # at the first scale luminance is close to 1 but left out, so the product with full SSIM is a lower bound,
    # and a close one
    bound = torch.tensor(parts[0]).clamp(min=0) ** w[0] * torch.tensor(parts[1]).clamp(min=0) ** w[1]
    assert (ours >= bound - 1e-6).all() and (ours <= bound + 0.1).all()


def test_negative_similarity_is_cut_and_not_nan():
    a, _ = images(2, 1, 32)
    assert (ms_ssim(a, -a) == 0).all() and (ssim(a, -a) < 0).all()


def test_negative_control_ssim_in_minus_one_to_one_likes_the_negative():
    a, _ = images(2, 1, 32)
    assert (ssim(a, -a) < 0).all() and tmf.structural_similarity_index_measure(-a, a, data_range=2.0) > 0.5


def test_pixel_errors_are_torchs():
    a, b = images()
    torch.testing.assert_close(mse(a, b), ((a - b) ** 2).mean(dim=(1, 2, 3)))
    theirs = tmf.peak_signal_noise_ratio(b, a, data_range=2.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(a, b), theirs, atol=1e-4, rtol=0)
    theirs = F.binary_cross_entropy((b + 1) / 2, (a + 1) / 2, reduction="none").mean(dim=(1, 2, 3))
    torch.testing.assert_close(bce(a, b), theirs)
    assert psnr(a, a).isinf().all()
    white = torch.ones(1, 1, 2, 2)
    assert bce(-white, white).item() == 100  # PyTorch's cut


def test_gaussian_kl_is_torchs():
    mu, logvar = torch.randn(2, 5, 7, generator=generator())
    q = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    torch.testing.assert_close(gaussian_kl(mu, logvar),
                               torch.distributions.kl_divergence(q, torch.distributions.Normal(0, 1)).sum(dim=1))


@pytest.mark.parametrize("low,high,scale", [(-1, 1, 128), (0, 1, 256), (0, 256, 1)])
def test_bits_per_dim_of_a_uniform_density_is_8(low, high, scale):
    nats = -torch.distributions.Uniform(low, high).log_prob(torch.full((5, 12), 0.3)).sum(dim=1)
    torch.testing.assert_close(bits_per_dim(nats, 12, scale), torch.full((5,), 8.0))


@pytest.mark.parametrize("metric", [mse, psnr, bce, ssim, ms_ssim])
def test_pairs_must_be_pairs_of_float_images(metric):
    a, b = images()
    for wrong in (b[:2], b[0], to_uint8(b)):
        with pytest.raises(UserError, match="compares pairs of float images"):
            metric(a, wrong)


def test_ssim_says_what_it_needs():
    a, b = images(2, 1, 32)
    with pytest.raises(UserError, match='Choose "reflect" or "valid"'):
        ssim(a, b, "same")
    with pytest.raises(UserError, match="windows of 11 pixels"):
        ssim(a[..., :10], b[..., :10])


# --- statistics and the Frechet distance ---


def stats(f):
    return FeatureStats().update(f)


def gaussian(mean, var):
    s = FeatureStats()
    s.n = 2
    s.mean = torch.tensor(mean, dtype=torch.float64)
    s.scatter = torch.diag(torch.tensor(var, dtype=torch.float64))
    return s


def pytorch_fid(fa, fb, monkeypatch):
    "pytorch-fid's own function; its call of scipy's root is adapted, for newer versions of scipy refuse its argument."
    from pytorch_fid import fid_score

    class Linalg:
        @staticmethod
        def sqrtm(m, disp=True):
            root = scipy.linalg.sqrtm(m)
            return root if disp else (root, 0.0)

    monkeypatch.setattr(fid_score, "linalg", Linalg)
    s = [(f.double().mean(dim=0).numpy(), np.cov(f.double().numpy(), rowvar=False)) for f in (fa, fb)]
    return fid_score.calculate_frechet_distance(*s[0], *s[1])


def test_frechet_by_hand():
    assert frechet_distance(gaussian([0, 0], [1, 4]), gaussian([1, 2], [9, 0.25])) == pytest.approx(11.25, abs=1e-9)


SIZES = [(500, 800, 32, 1e-6), (1_000, 300, 128, 1e-6), (60, 90, 128, 1e-4), (60, 900, 128, 1e-4), (900, 60, 128, 1e-4)]


@pytest.mark.parametrize("n,m,d,tolerance", SIZES)
def test_fid_is_pytorch_fids_and_torch_fidelitys(n, m, d, tolerance, monkeypatch):
    fa, fb = features(n, d, 1), features(m, d, 2, shift=0.2)
    ours = frechet_from_features(fa, fb)
    assert ours == pytest.approx(pytorch_fid(fa, fb, monkeypatch), rel=tolerance)
    assert ours == pytest.approx(frechet_distance(stats(fa), stats(fb)), rel=max(tolerance, 1e-6))
    s = [dict(mu=f.double().mean(dim=0).numpy(), sigma=np.cov(f.double().numpy(), rowvar=False)) for f in (fa, fb)]
    theirs = tf_fid.fid_statistics_to_metric(*s, verbose=False)["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("n,d", [(300, 16), (20, 64)])
def test_fid_of_a_set_with_itself_is_0_and_is_symmetric(n, d):
    fa, fb = features(n, d, 1), features(2 * n, d, 2)
    assert frechet_from_features(fa, fa) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(stats(fa), stats(fa)) == pytest.approx(0, abs=1e-5)
    assert frechet_from_features(fa, fb) == pytest.approx(frechet_from_features(fb, fa), rel=1e-9)


@pytest.mark.parametrize("n,expected,spread", [(100, 22.6, 1.0), (5_000, 0.43, 0.02)])
def test_the_floor_of_fid(n, expected, spread):
    values = [frechet_from_features(*torch.randn(2, n, 64, generator=generator(s))) for s in range(6)]
    assert np.mean(values) == pytest.approx(expected, abs=spread)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=2, max_size=6).filter(lambda s: sum(s) >= 2),
       split=st.integers(0, 6), seed=st.integers(0, 99))
def test_streamed_and_merged_statistics_are_those_of_all_at_once(sizes, split, seed):
    f = 100 + features(sum(sizes), 5, seed)
    parts = f.split(sizes)
    one, two = FeatureStats(), FeatureStats()
    for part in parts[:split]:
        one.update(part)
    for part in parts[split:]:
        two.update(part)
    one.merge(two)
    assert one.n == len(f)
    torch.testing.assert_close(one.mean, f.double().mean(dim=0), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(one.cov, torch.cov(f.double().T), rtol=1e-9, atol=1e-10)


def test_merging_leaves_the_other_stream_alone():
    a, b = stats(features(30, 4, 1)), stats(features(40, 4, 2))
    mean, scatter = b.mean.clone(), b.scatter.clone()
    FeatureStats().merge(b).update(features(10, 4, 3))
    a.merge(b)
    assert b.n == 40 and torch.equal(b.mean, mean) and torch.equal(b.scatter, scatter)


def test_statistics_say_what_they_need():
    with pytest.raises(UserError, match=r"Features are \(B, d\)"):
        FeatureStats().update(torch.zeros(3, 2, 2))
    with pytest.raises(UserError, match=r"Features are \(B, 4\)"):
        stats(torch.zeros(3, 4)).update(torch.zeros(3, 5))
    with pytest.raises(UserError, match="at least 2 samples"):
        _ = stats(torch.zeros(1, 4)).cov


# --- KID, inception score ---


def torch_fidelity_kid(fa, fb, subsets=1, size=None):
    return tf_kid.kid_features_to_metric(
        fa.double(), fb.double(), kid_subsets=subsets, kid_subset_size=size or len(fa), kid_kernel="poly",
        kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1, rng_seed=0, verbose=False)


@pytest.mark.parametrize("n,d", [(50, 8), (300, 64), (1_203, 16)])
def test_kid_is_torch_fidelitys_and_torchmetrics(n, d):
    fa, fb = features(n, d, 1), features(n, d, 2, shift=0.1)
    ours = kid(fa, fb)
    assert ours == pytest.approx(torch_fidelity_kid(fa, fb)["kernel_inception_distance_mean"], rel=1e-9)
    assert ours == pytest.approx(tm.kid.poly_mmd(fa.double(), fb.double()).item(), rel=1e-9)


def test_kid_by_a_double_loop_with_unequal_sizes():
    fa, fb = features(7, 3, 1), features(11, 3, 2)
    k = lambda x, y: ((x.double() @ y.double()) / 3 + 1).item() ** 3  # noqa: E731
    aa = np.mean([k(x, y) for i, x in enumerate(fa) for j, y in enumerate(fa) if i != j])
    bb = np.mean([k(x, y) for i, x in enumerate(fb) for j, y in enumerate(fb) if i != j])
    assert kid(fa, fb) == pytest.approx(aa + bb - 2 * np.mean([k(x, y) for x in fa for y in fb]), rel=1e-9)


@pytest.mark.parametrize("n", [20, 200])
def test_kid_is_unbiased_and_fid_is_not(n):
    pairs = [torch.randn(2, n, 8, generator=generator(s)) for s in range(300)]
    kids = np.array([kid(*p) for p in pairs])
    assert abs(kids.mean()) < 3.5 * kids.std() / math.sqrt(len(kids))
    assert min(frechet_from_features(*p) for p in pairs[:20]) > 0


def test_kid_subsets_scatter_around_kid():
    fa, fb = features(600, 16, 1), features(600, 16, 2, shift=0.1)
    values = kid_subsets(fa, fb, size=200, subsets=60)
    theirs = torch_fidelity_kid(fa, fb, subsets=60, size=200)
    assert values.shape == (60,) and values.mean().item() == pytest.approx(kid(fa, fb), rel=0.1)
    assert values.std().item() == pytest.approx(theirs["kernel_inception_distance_std"], rel=0.5)
    assert kid_subsets(fa, fb, size=10_000, subsets=2)[0].item() == pytest.approx(kid(fa, fb), rel=1e-9)
    with pytest.raises(UserError, match="at least 2 samples"):
        kid(fa[:1], fb)


def test_inception_score():
    assert inception_score(torch.eye(7).repeat(20, 1)) == pytest.approx(7)
    assert inception_score(torch.full((50, 7), 1 / 7)) == pytest.approx(1)
    logits = 3 * torch.randn(400, 10, generator=generator())
    theirs = tf_isc.isc_features_to_metric(logits, splits=1)["inception_score_mean"]
    assert inception_score(logits.softmax(dim=1)) == pytest.approx(theirs, rel=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twin = tm.inception.InceptionScore(feature=torch.nn.Identity(), splits=1)
    twin.update(logits)
    assert inception_score(logits.softmax(dim=1)) == pytest.approx(twin.compute()[0].item(), rel=1e-5)
    theirs = tf_isc.isc_features_to_metric(logits, splits=5, shuffle=False)["inception_score_mean"]
    assert inception_score(logits.softmax(dim=1), splits=5) == pytest.approx(theirs, rel=1e-6)


# --- manifolds ---


def brute_force(real, fake, k):
    "Precision, recall, density and coverage by loops over single distances."
    distance = lambda x, y: (x.double() - y.double()).norm().item()  # noqa: E731
    radius = lambda s, i: sorted(distance(s[i], s[j]) for j in range(len(s)) if j != i)[k - 1]  # noqa: E731
    r_real, r_fake = ([radius(s, i) for i in range(len(s))] for s in (real, fake))
    inside = [[distance(f, r) <= r_real[i] for i, r in enumerate(real)] for f in fake]
    recall = np.mean([any(distance(r, f) <= r_fake[j] for j, f in enumerate(fake)) for r in real])
    return (np.mean([any(row) for row in inside]), recall, np.sum(inside) / (k * len(fake)),
            np.mean(np.any(inside, axis=0)))


@settings(max_examples=10, deadline=None)
@given(n=st.integers(8, 30), m=st.integers(8, 30), d=st.integers(1, 4), k=st.integers(1, 6), seed=st.integers(0, 99))
def test_manifolds_by_brute_force(n, m, d, k, seed):
    g = generator(seed)
    real, fake = torch.randn(n, d, generator=g), 0.3 + 0.7 * torch.randn(m, d, generator=g)
    want = brute_force(real, fake, k)
    assert precision_recall(real, fake, k) + density_coverage(real, fake, k) == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("n,m,d", [(500, 500, 16), (1_500, 1_100, 8)])
def test_precision_and_recall_are_torch_fidelitys(n, m, d):
    real, fake = features(n, d, 1), features(m, d, 2, shift=0.1)
    assert precision_recall(real, fake) == pytest.approx(
        tf_prc.calculate_precision_recall_full(fake.double(), real.double(), 3), abs=1e-6)


def test_one_distribution_and_a_dropped_mode():
    def clouds(n, modes, seed):
        return 8.0 * F.one_hot(torch.arange(n) % modes, 4) + 0.5 * torch.randn(n, 4, generator=generator(seed))

    real, same, dropped = clouds(1_200, 4, 1), clouds(1_200, 4, 2), clouds(1_200, 2, 3)
    (p, r), (d, c) = precision_recall(real, same), density_coverage(real, same)
    # Naeem et al., section 3.3
    assert p > 0.85 and r > 0.85 and d == pytest.approx(1, abs=0.1) and c == pytest.approx(1 - 0.5**5, abs=0.03)
    (p2, r2), (d2, c2) = precision_recall(real, dropped), density_coverage(real, dropped)
    assert p2 == pytest.approx(p, abs=0.05) and 0.4 < r2 < 0.5 and d2 > 0.85 and 0.4 < c2 < 0.52
    assert precision_recall(real, real) == (1, 1)
    with pytest.raises(UserError, match="3 neighbours need more than 3 samples"):
        precision_recall(real[:3], real)


# --- extractors ---


def shipped():
    return sorted(p.stem for p in SHIPPED.glob("*.safetensors"))


def test_what_ships():
    assert shipped() == ["emoji", "faces", "fashion_mnist", "shapes"]
    assert sum(p.stat().st_size for p in SHIPPED.iterdir()) < 2 * 2**20
    for name in shipped():
        record = json.loads((SHIPPED / f"{name}.json").read_text())
        assert record["data"] == name and record["name"] == f"genlab-{name}-64" == load_extractor(name).name
        assert {"seed", "steps", "accuracy", "versions", "train_images"} <= record.keys()


@pytest.mark.parametrize("name,least", [("fashion_mnist", 0.91), ("shapes", 0.9), ("faces", 0.9)])
def test_shipped_accuracy_is_as_recorded(name, least):
    try:
        data = load_images(name, "test")
    except DataMissing:
        pytest.skip(f"{name} is missing: apt-get install dataset-fashion-mnist")
    eye = load_extractor(name)
    measured = accuracy(eye.net, data)
    assert measured > least and measured == pytest.approx(eye.record["accuracy"]["test"], abs=2e-3)
    assert eye.record["labels"] == list(data.names)


@pytest.mark.parametrize("size", [28, 32, 64])
def test_features_of_any_size_and_of_one_number_of_channels(size):
    eye = load_extractor("fashion_mnist")
    x = torch.rand(3, 1, size, size, generator=generator()) * 2 - 1
    assert eye.features(x).shape == (3, eye.dim) and not eye.features(x).requires_grad
    torch.testing.assert_close(eye.probabilities(x).sum(dim=1), torch.ones(3))
    torch.testing.assert_close(torch.cat([eye.features(x[:1]), eye.features(x[1:])]),
                               eye.features(x), atol=1e-5, rtol=1e-4)
    for wrong in (x.expand(-1, 3, -1, -1), x[0], to_uint8(x)):
        with pytest.raises(UserError, match="genlab-fashion_mnist-64 reads float images"):
            eye.features(wrong)


def test_attributes_have_probabilities_of_their_own_and_no_inception_score():
    eye, data = load_extractor("faces"), load_images("faces", "test", n=60)
    p = eye.probabilities(data[torch.arange(20)][0])
    assert p.shape == (20, data.n_labels) and ((p > 0) & (p < 1)).all() and (p.sum(dim=1) - 1).abs().max() > 0.1
    assert "inception_score" not in evaluate_images(data, data.x[:30])


def test_train_save_load(tmp_path, monkeypatch):
    import genlab.lab.metrics as metrics

    g = generator()
    y = torch.arange(600) % 2
    x = (torch.rand(600, 1, 20, 20, generator=g) * 100 + 100 * y[:, None, None, None]).to(torch.uint8)
    monkeypatch.setattr(metrics, "load_images", lambda name, split: ImageSet(x, y, ("dark", "bright"), name, split))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    path = train_classifier("mnist", tmp_path, epochs=3, batch_size=50)
    assert torch.equal(torch.get_rng_state(), before)
    eye = load_extractor(path)
    record = json.loads(path.with_suffix(".json").read_text())
    assert eye.name == "genlab-mnist-64" \
        and record["accuracy"] == {"validation": 1.0, "test": 1.0} and record["steps"] == 36
    again = fit_classifier(ImageSet(x, y, ("dark", "bright"), "mnist", "train"), epochs=3, batch_size=50)
    for name, value in again.half().state_dict().items():  # weights are stored in half precision
        torch.testing.assert_close(eye.net.state_dict()[name], value.to(eye.net.state_dict()[name].dtype),
                                   rtol=0, atol=0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="are no classifier"):
        load_extractor(path)
    with pytest.raises(UserError, match="are no classifier"):
        load_extractor(tmp_path / "other.safetensors")


def test_attributes_can_be_trained():
    g = generator()
    y = torch.rand(500, 2, generator=g) < 0.5
    x = torch.randint(0, 60, (500, 3, 16, 16), generator=g)
    x[:, 0] += 120 * y[:, 0, None, None]
    x[:, 2] += 120 * y[:, 1, None, None]
    data = ImageSet(x.to(torch.uint8), y, ("red", "blue"), "faces", "train")
    assert accuracy(fit_classifier(data, epochs=4, batch_size=50), data) > 0.98


def test_the_command_says_what_it_wants():
    out = subprocess.run([sys.executable, "-m", "genlab.lab.metrics", "--help"],
                         capture_output=True, text=True, check=True)
    assert "--data" in out.stdout and "--out" in out.stdout


# --- Inception ---


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    "A file with the shape of pytorch-fid's weights, and random numbers in it."
    from pytorch_fid import inception

    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loader = inception.load_state_dict_from_url
        inception.load_state_dict_from_url = lambda *a, **k: None
        load, torch.nn.Module.load_state_dict = torch.nn.Module.load_state_dict, lambda self, state: None
        try:
            net = inception.fid_inception_v3()
        finally:
            inception.load_state_dict_from_url, torch.nn.Module.load_state_dict = loader, load
        for module in net.modules():  # PyTorch's default start lets the signal die on its way through 50 layers
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
    torch.save(net.state_dict(), path)
    return path


def test_inception_from_a_local_file_is_pytorch_fids(inception_file, monkeypatch):
    from pytorch_fid import inception

    eye = inception_extractor(inception_file)
    # a bright and a dark image
    x = torch.rand(2, 3, 32, 32, generator=generator()) * torch.tensor([2.0, 0.4])[:, None, None, None] - 1
    ours = eye.features(x)
    monkeypatch.setattr(inception, "load_state_dict_from_url",
                        lambda *a, **k: torch.load(inception_file, weights_only=True))
    with torch.no_grad():
        theirs = inception.InceptionV3(
            [inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()((x + 1) / 2)[0][:, :, 0, 0]
    assert ours.shape == (2, 2048) and eye.name == "pytorch-fid-inception-2048"
    assert (ours[0] - ours[1]).abs().mean() > 0.01, "features that ignore the image would be equal too"
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert eye.probabilities(x).shape == (2, 1008)
    grey = x[:, :1]
    torch.testing.assert_close(eye.features(grey), eye.features(grey.repeat(1, 3, 1, 1)))


def test_missing_inception_weights_are_one_sentence_with_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)

    def no_network(url, dst, *args, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    where = str(tmp_path / "hub" / "checkpoints" / "pt_inception-2015-12-05-6726825d.pth")
    for ask in (inception_extractor, lambda: load_extractor("cifar10"),
                lambda: inception_extractor(tmp_path / "nothing.pth")):
        with pytest.raises(UserError) as e:
            ask()
        assert where in str(e.value) and "\n" not in str(e.value)
    with pytest.raises(UserError, match="--data cifar10"):
        load_extractor("cifar10")


def test_a_download_is_checked_by_its_hash_and_lands_at_the_usual_place(inception_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    asked = []

    def download(url, dst, hash_prefix=None, progress=True):
        asked.append((url.rsplit("/", 1)[-1], hash_prefix))
        Path(dst).write_bytes(inception_file.read_bytes())

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    inception_extractor()
    inception_extractor()
    assert asked == [("pt_inception-2015-12-05-6726825d.pth", "6726825d")]


def test_weights_at_the_usual_place_are_found_without_a_network(inception_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    usual = tmp_path / "hub" / "checkpoints" / "pt_inception-2015-12-05-6726825d.pth"
    usual.parent.mkdir(parents=True)
    usual.symlink_to(inception_file)
    assert load_extractor("celeba").name == "pytorch-fid-inception-2048"


def test_files_that_are_not_its_weights(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    torch.save({"fc.weight": torch.zeros(3, 4)}, tmp_path / "other.pth")
    for name, says in (("text.pth", "text.pth"), ("other.pth", "does not fit pytorch-fid's Inception")):
        with pytest.raises(UserError, match=says):
            inception_extractor(tmp_path / name)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"fc.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError):
        inception_extractor(tmp_path / "trap.pth")
    assert not (tmp_path / "ran").exists()


# --- all of them ---


def test_evaluate_images_is_its_parts(fashion):
    fake = load_images("fashion_mnist", "validation").x[:600]
    out = evaluate_images(fashion, fake, seed=3)
    order = torch.randperm(len(fashion), generator=generator(3))
    eye = load_extractor("fashion_mnist")
    ref, other, made = (eye.features(to_float(x)) for x in (fashion.x[order[:600]], fashion.x[order[600:1200]], fake))
    for key, f in (("value", made), ("floor", other)):
        assert out["fid"][key] == pytest.approx(frechet_from_features(ref, f), rel=1e-4)
        assert out["kid"][key] == pytest.approx(kid(ref, f), rel=1e-3, abs=1e-5)
        assert (out["precision"][key], out["recall"][key]) == pytest.approx(precision_recall(ref, f), abs=4e-3)
        assert (out["density"][key], out["coverage"][key]) == pytest.approx(density_coverage(ref, f), abs=4e-3)
        assert out["inception_score"][key] == pytest.approx(inception_score(eye.classify(f)), rel=1e-4)
    assert all(r["n"] == 600 and r["extractor"] == "genlab-fashion_mnist-64"
               and set(r) == {"value", "floor", "n", "extractor"} for r in out.values())
    assert json.loads(json.dumps(out)) == out
    assert evaluate_images(fashion, fake, seed=3) == out


def test_stream_of_batches_is_the_whole(fashion):
    eye = load_extractor("fashion_mnist")
    streamed = feature_stats(fashion.x[:700].split(300), eye)
    whole = stats(eye.features(to_float(fashion.x[:700])))
    assert streamed.n == 700
    torch.testing.assert_close(streamed.cov, whole.cov, atol=1e-5, rtol=1e-4)


def test_faults_move_what_they_should(fashion):
    good = load_images("fashion_mnist", "train").x[:1_000]
    train = load_images("fashion_mnist", "train")
    noisy = to_uint8(to_float(good) + 0.2 * torch.randn(good.shape, generator=generator()))
    dropped = train.x[train.y < 3][:1_000]
    base, n, d = (evaluate_images(fashion, x) for x in (good, noisy, dropped))
    assert base["fid"]["value"] < 2 * base["fid"]["floor"] and abs(base["kid"]["value"]) < 0.02
    for bad in (n, d):
        assert bad["fid"]["value"] > 5 * base["fid"]["floor"] and bad["kid"]["value"] > 10 * abs(base["kid"]["floor"])
    assert n["precision"]["value"] < base["precision"]["value"] - 0.1
    assert d["precision"]["value"] > base["precision"]["value"] - 0.1 \
        and d["recall"]["value"] < base["recall"]["value"] - 0.25


def test_evaluate_images_says_what_is_wrong(fashion):
    with pytest.raises(UserError, match="Convert them with to_uint8"):
        evaluate_images(fashion, to_float(fashion.x[:50]))
    with pytest.raises(UserError, match="must be uint8"):
        evaluate_images(fashion, fashion.x[:50].expand(-1, 3, -1, -1))
    with pytest.raises(UserError, match="too few"):
        evaluate_images(fashion, fashion.x[:5])
    assert evaluate_images(fashion.take(slice(0, 100)), fashion.x[:80])["fid"]["n"] == 50


def test_another_extractor_is_named(fashion):
    eye = Extractor(SmallClassifier(1, 10, dim=16), "mine", 16, (1,))
    out = evaluate_images(replace(fashion, name="mnist"), fashion.x[:100], extractor=eye)
    assert {r["extractor"] for r in out.values()} == {"mine"}


def test_negative_control_unpaired_ssim_does_not_judge(fashion):
    "The real set, shuffled, is a perfect generator: SSIM keeps one number for it, and prefers black."
    x = to_float(fashion.x[:1_000])
    shuffled = [x[torch.randperm(len(x), generator=generator(s))] for s in range(3)]
    scores = [ssim(s, x).mean().item() for s in shuffled]
    assert max(scores) - min(scores) < 0.02 and max(scores) < 0.5
    black = torch.full_like(x, -1.0)
    assert ssim(black, x).mean() > max(scores) + 0.01
    assert evaluate_images(fashion, to_uint8(black))["fid"]["value"] \
        > 20 * evaluate_images(fashion, to_uint8(shuffled[0]))["fid"]["value"]


def test_reference_features_are_kept_by_content(tmp_path, monkeypatch):
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    looks = []
    eye = load_extractor("shapes")
    whole = eye.net.features
    eye.net.features = lambda x: looks.append(len(x)) or whole(x)
    x = torch.randint(0, 256, (40, 3, 32, 32), generator=generator(), dtype=torch.uint8)
    first = reference_features(x, eye, torch.device("cpu"))
    assert torch.equal(reference_features(x.clone(), eye, torch.device("cpu")), first) and looks == [40]
    reference_features(x[:30], eye, torch.device("cpu"))
    reference_features(x.flip(0), eye, torch.device("cpu"))
    assert looks == [40, 30, 40], "another number, another order: other files"
    eye.net.head.weight.data[0, 0] += 1
    reference_features(x, eye, torch.device("cpu"))
    assert looks == [40, 30, 40, 40] and len(list((tmp_path / "features").iterdir())) == 4


def test_a_damaged_or_forbidden_cache_costs_time_only(tmp_path, monkeypatch):
    monkeypatch.setenv("GENLAB_DATA", str(tmp_path))
    eye = load_extractor("shapes")
    x = torch.randint(0, 256, (40, 3, 32, 32), generator=generator(), dtype=torch.uint8)
    first = reference_features(x, eye, torch.device("cpu"))
    kept = next((tmp_path / "features").iterdir())
    whole = kept.read_bytes()
    kept.write_bytes(whole[:50])
    assert torch.equal(reference_features(x, eye, torch.device("cpu")), first)
    assert kept.read_bytes() == whole, "it was made again"
    monkeypatch.setenv("GENLAB_DATA", "/sys/kernel")  # nobody may write there, root included
    assert torch.equal(reference_features(x, eye, torch.device("cpu")), first)

"Exercises refuse plausible wrong answers: the identity, half of the job, a sign, two things exchanged."

import pytest
from test_chapters import exercises, reader_space

WRONG = {
    "10_colored_pi-check_mirror": {
        "nothing": """
def mirror(points):
    return points.clone()
""",
        "off by one pixel": """
def mirror(points):
    out = points.clone()
    out[:, 1] = 1 - out[:, 1]
    return out
""",
        "upside down": """
def mirror(points):
    out = points.clone()
    out[:, 0] = 299 / 300 - out[:, 0]
    return out
""",
    },
    "10_colored_pi-check_colour_noise": {
        "the plane left in": """
def colour_noise(points):
    return points[:, 2:].std(dim=0)
""",
        "this chapter's plane": """
def colour_noise(points):
    plane = colour_field(points[:, 0] * 300, points[:, 1] * 300)
    return (points[:, 2:] - torch.from_numpy(plane / 255)).std(dim=0)
""",
        "a plane without a constant": """
def colour_noise(points):
    A = points[:, :2]
    plane = A @ torch.linalg.lstsq(A, points[:, 2:]).solution
    return (points[:, 2:] - plane).std(dim=0)
""",
        "the variance": """
def colour_noise(points):
    A = torch.cat([torch.ones(len(points), 1), points[:, :2]], dim=1)
    plane = A @ torch.linalg.lstsq(A, points[:, 2:]).solution
    return (points[:, 2:] - plane).var(dim=0)
""",
    },
    "11_distances-check_coverage": {
        "sets exchanged": """
def coverage(points, real, radius):
    return (nearest_train(points, real) <= radius).float().mean()
""",
        "squared distance": """
def coverage(points, real, radius):
    return (nearest_train(real, points) ** 2 <= radius).float().mean()
""",
    },
    "11_distances-check_fake": {
        "the training points": """
def fake(train):
    return train
""",
        "too much noise": """
def fake(train):
    return train + 0.02 * torch.randn_like(train)
""",
        "one point, many times": """
def fake(train):
    return train[:1].repeat(len(train), 1) + 1e-4
""",
    },
    "14_likelihood-check_kl_between": {
        "the other way round": """
def kl_between(a, b, c, d):
    kl = b - d + (d.exp() + (a - c) ** 2) / b.exp() - 1
    return 0.5 * kl.sum(dim=-1)
""",
        "to the standard normal": """
def kl_between(a, b, c, d):
    return kl_to_standard_normal(a, b)
""",
        "without the half": """
def kl_between(a, b, c, d):
    return (d - b + (b.exp() + (a - c) ** 2) / d.exp() - 1).sum(dim=-1)
""",
    },
    "12_vae-check_posterior": {
        "the prior": """
def posterior(x, w, s):
    return torch.zeros(len(x)), 1.0
""",
        "the least squares answer": """
def posterior(x, w, s):
    return x.mean(dim=1) / w, s**2 / w**2 / x.shape[1]
""",
        "of one measurement, their mean": """
def posterior(x, w, s):
    return w * x.mean(dim=1) / (w**2 + s**2), s**2 / (w**2 + s**2)
""",
        "a standard deviation": """
def posterior(x, w, s):
    p = x.shape[1] * w**2 + s**2
    return w * x.sum(dim=1) / p, (s**2 / p) ** 0.5
""",
    },
    "12_vae-check_exponential": {
        "1 - u in place of the logarithm": """
def exponential(rate, u):
    return (1 - u) / rate
""",
        "the right mean, another shape": """
def exponential(rate, u):
    return 2 * u / rate
""",
        "scale for rate": """
def exponential(rate, u):
    return -u.log() * rate
""",
        "no gradient": """
def exponential(rate, u):
    return -u.log() / rate.item()
""",
    },
    "14_likelihood-check_nats_lost": {
        "twice as much": """
def nats_lost(cov):
    return cov.diagonal().log().sum() - torch.logdet(cov)
""",
        "the other sign": """
def nats_lost(cov):
    return 0.5 * (torch.logdet(cov) - cov.diagonal().log().sum())
""",
        "the other way round": """
def nats_lost(cov):
    diagonal = cov.diagonal()
    return 0.5 * ((diagonal * torch.linalg.inv(cov).diagonal()).sum() - len(cov)
                  - diagonal.log().sum() + torch.logdet(cov))
""",
        "nothing": """
def nats_lost(cov):
    return torch.zeros(())
""",
    },
    "14_likelihood-check_hidden_sigma": {
        "the variance": """
def hidden_sigma(weight, D):
    return weight * D / 2
""",
        "without the mean": """
def hidden_sigma(weight, D):
    return (weight / 2) ** 0.5
""",
        "without the half": """
def hidden_sigma(weight, D):
    return (weight * D) ** 0.5
""",
    },
    "13_transformer_vae-check_causal": {
        "no mask": """
def causal_attention(q, k, v):
    return attention(q, k, v)[0]
""",
        "the mask upside down": """
def causal_attention(q, k, v):
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    T = q.shape[-2]
    later = torch.ones(T, T).tril(-1).bool()
    return scores.masked_fill(later, float('-inf')).softmax(dim=-1) @ v
""",
        "masked after the softmax": """
def causal_attention(q, k, v):
    weights = attention(q, k, v)[1]
    return weights.tril() @ v
""",
    },
    "13_transformer_vae-check_nameless": {
        "a plain copy": """
def nameless(encoder):
    from copy import deepcopy

    return deepcopy(encoder)
""",
        "only two of five": """
def nameless(encoder):
    from copy import deepcopy

    other = deepcopy(encoder)
    with torch.no_grad():
        other.coordinate[1] = other.coordinate[0]
    return other
""",
        "deaf to its input": """
def nameless(encoder):
    from copy import deepcopy

    other = deepcopy(encoder)
    with torch.no_grad():
        other.coordinate.zero_()
        other.linear.weight.zero_()
    return other
""",
    },
    "20_images-check_place": {
        "the remainder is a batch, too": """
def place(total, n, batch_size):
    return divmod(total, -(-n // batch_size))
""",
        "images in the place of batches": """
def place(total, n, batch_size):
    return divmod(total * batch_size, n)
""",
        "the epoch by images, the step by batches": """
def place(total, n, batch_size):
    return total * batch_size // n, total % (n // batch_size)
""",
    },
    "20_images-check_balanced": {
        "without replacement": """
def balanced(y, n_classes, per_class, generator):
    parts = []
    for k in range(n_classes):
        mine = (y == k).nonzero()[:, 0]
        parts.append(mine[torch.randperm(len(mine), generator=generator)[:per_class]])
    return torch.cat(parts)
""",
        "the first ones, again and again": """
def balanced(y, n_classes, per_class, generator):
    mine = [(y == k).nonzero()[:, 0] for k in range(n_classes)]
    return torch.cat([m.repeat(per_class)[:per_class] for m in mine])
""",
        "balanced on average": """
def balanced(y, n_classes, per_class, generator):
    weights = 1 / y.bincount().float()
    return torch.multinomial(weights[y], n_classes * per_class, replacement=True, generator=generator)
""",
        "the generator forgotten": """
def balanced(y, n_classes, per_class, generator):
    mine = [(y == k).nonzero()[:, 0] for k in range(n_classes)]
    return torch.cat([m[torch.randint(len(m), (per_class,))] for m in mine])
""",
        "places within the class": """
def balanced(y, n_classes, per_class, generator):
    return torch.cat([torch.randint(int((y == k).sum()), (per_class,), generator=generator) for k in range(n_classes)])
""",
    },
    "21_synthetic-check_moon": {
        "the union": """
def moon(x, y, r):
    return torch.minimum(disc(x, y, r), -disc(x - 0.5 * r, y, 0.8 * r))
""",
        "what both have": """
def moon(x, y, r):
    return torch.maximum(disc(x, y, r), disc(x - 0.5 * r, y, 0.8 * r))
""",
        "cut on the other side": """
def moon(x, y, r):
    return torch.maximum(disc(x, y, r), -disc(x + 0.5 * r, y, 0.8 * r))
""",
        "a ring": """
def moon(x, y, r):
    return torch.maximum(disc(x, y, r), -disc(x, y, 0.8 * r))
""",
    },
    "21_synthetic-check_hexagon": {
        "notches on the circle of the corners": """
def hexagon(x, y, r):
    return star(x, y, r, r, 6)
""",
        "a corner above": """
def hexagon(x, y, r):
    return star(y, x, r, math.cos(math.pi / 6) * r, 6)
""",
        "degrees": """
def hexagon(x, y, r):
    return star(x, y, r, math.cos(30) * r, 6)
""",
    },
    "21_synthetic-check_town": {
        "no dark glasses": """
wishes = {"Eyeglasses": 1.0, "Sunglasses": 0.0, "Bald": 1 / 3, "Blond": 1 / 3, "Gray_Hair": 1 / 3, "Hat": 0.0}
""",
        "shares of those that are left": """
wishes = {"Eyeglasses": 0.5, "Sunglasses": 0.5, "Bald": 1 / 3, "Blond": 1 / 2, "Gray_Hair": 1.0, "Hat": 0.0}
""",
        "hair as usual": """
wishes = {"Eyeglasses": 0.5, "Sunglasses": 0.5, "Hat": 0.0}
""",
        "hats as usual": """
wishes = {"Eyeglasses": 0.5, "Sunglasses": 0.5, "Bald": 1 / 3, "Blond": 1 / 3, "Gray_Hair": 1 / 3}
""",
    },
    "22_layers-check_receptive_field": {
        "strides left out": """
def receptive_field(layers):
    return 1 + sum(kernel - 1 for kernel, stride in layers)
""",
        "a layer's own stride counted": """
def receptive_field(layers):
    seen, apart = 1, 1
    for kernel, stride in layers:
        apart *= stride
        seen += (kernel - 1) * apart
    return seen
""",
        "kernels multiplied": """
def receptive_field(layers):
    return math.prod(kernel for kernel, stride in layers)
""",
    },
    "22_layers-check_up": {
        "a transposed convolution": """
class Up(nn.ConvTranspose2d):
    def __init__(self, in_channels, out_channels):
        super().__init__(in_channels, out_channels, 2, stride=2)
""",
        "channels to places": """
class Up(nn.Sequential):
    def __init__(self, in_channels, out_channels):
        super().__init__(nn.Conv2d(in_channels, 4 * out_channels, 3, padding=1), nn.PixelShuffle(2))
""",
        "the convolution first": """
class Up(nn.Sequential):
    def __init__(self, in_channels, out_channels):
        super().__init__(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.Upsample(scale_factor=2))
""",
        "between the places": """
class Up(nn.Sequential):
    def __init__(self, in_channels, out_channels):
        smooth = nn.Upsample(scale_factor=2, mode="bilinear")
        super().__init__(smooth, nn.Conv2d(in_channels, out_channels, 3, padding=1))
""",
    },
    "23_training-check_forgotten_after": {
        "equal is enough": """
def forgotten_after(decay, share):
    k = 0
    while decay ** k > share:
        k += 1
    return k
""",
        "one too many": """
def forgotten_after(decay, share):
    k = 0
    while decay ** k >= share:
        k += 1
    return k + 1
""",
        "the length of the average": """
def forgotten_after(decay, share):
    return round(1 / (1 - decay))
""",
    },
    "23_training-check_recipe_of_medians": {
        "the mean": """
class MyRecipe(Recipe):
    def __init__(self):
        network = nn.Module()
        network.mu = nn.Parameter(torch.zeros(5))
        super().__init__(network, lr=0.1)

    def loss(self, x):
        return dict(loss=(x - self.model.mu).square().sum(dim=1).mean())
""",
        "a rate that is too low": """
class MyRecipe(Recipe):
    def __init__(self):
        network = nn.Module()
        network.mu = nn.Parameter(torch.zeros(5))
        super().__init__(network, lr=1e-4)

    def loss(self, x):
        return dict(loss=(x - self.model.mu).abs().sum(dim=1).mean())
""",
        "one number for all columns": """
class MyRecipe(Recipe):
    def __init__(self):
        network = nn.Module()
        network.mu = nn.Parameter(torch.zeros(1))
        super().__init__(network, lr=0.1)

    def loss(self, x):
        return dict(loss=(x - self.model.mu).abs().sum(dim=1).mean())
""",
    },
    "24_metrics-check_pooled_psnr": {
        "the mean of the decibels": """
def pooled_psnr(a, b):
    return psnr(a, b).mean()
""",
        "a range of 1": """
def pooled_psnr(a, b):
    return 10 * (1 / mse(a, b).mean()).log10()
""",
        "the mean of the roots": """
def pooled_psnr(a, b):
    return 20 * (2 / mse(a, b).sqrt().mean()).log10()
""",
        "one for each image": """
def pooled_psnr(a, b):
    return psnr(a, b)
""",
    },
    "24_metrics-check_cheat": {
        "the real data": """
def cheat(real):
    return real.clone()
""",
        "half of the real data, twice": """
def cheat(real):
    return real[: len(real) // 2].repeat(2, 1)
""",
        "noise around the real data": """
def cheat(real):
    return real + 2 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
""",
        "one alone": """
def cheat(real):
    return real[:1]
""",
    },
    "25_pictures-check_ungrid": {
        "cut in one go": """
def ungrid(page, columns, pad, height, width):
    page = np.pad(page, ((0, pad), (0, pad), (0, 0)))
    x = torch.from_numpy(page).permute(2, 0, 1)
    return x.reshape(-1, 3, height + pad, width + pad)[:, :, :height, :width]
""",
        "column by column": """
def ungrid(page, columns, pad, height, width):
    page = np.pad(page, ((0, pad), (0, pad), (0, 0)))
    rows = page.shape[0] // (height + pad)
    x = torch.from_numpy(page).view(rows, height + pad, columns, width + pad, 3)
    return x.permute(2, 0, 4, 1, 3).reshape(rows * columns, 3, height + pad, width + pad)[:, :, :height, :width]
""",
        "the gaps in front": """
def ungrid(page, columns, pad, height, width):
    page = np.pad(page, ((pad, 0), (pad, 0), (0, 0)))
    rows = page.shape[0] // (height + pad)
    x = torch.from_numpy(page).view(rows, height + pad, columns, width + pad, 3)
    return x.permute(0, 2, 4, 1, 3).reshape(rows * columns, 3, height + pad, width + pad)[:, :, :height, :width]
""",
    },
    "25_pictures-check_tour": {
        "straight lines": """
def tour(codes, n):
    return torch.cat([lerp(a, b, n)[:-1] for a, b in zip(codes, codes.roll(-1, 0))])
""",
        "not back to the first": """
def tour(codes, n):
    return torch.cat([slerp(a, b, n)[:-1] for a, b in zip(codes, codes[1:])])
""",
        "each code twice": """
def tour(codes, n):
    return torch.cat([slerp(a, b, n) for a, b in zip(codes, codes.roll(-1, 0))])
""",
        "to the one before": """
def tour(codes, n):
    return torch.cat([slerp(a, b, n)[:-1] for a, b in zip(codes, codes.roll(1, 0))])
""",
        "n codes between": """
def tour(codes, n):
    return torch.cat([slerp(a, b, n + 1)[:-1] for a, b in zip(codes, codes.roll(-1, 0))])
""",
    },
    "31_vae-check_implied_sigma": {
        "the variance": """
def implied_sigma(w, dims):
    return w * dims / 2
""",
        "without the mean": """
def implied_sigma(w, dims):
    return math.sqrt(w / 2)
""",
        "without the half": """
def implied_sigma(w, dims):
    return math.sqrt(w * dims)
""",
        "the weight on the wrong side": """
def implied_sigma(w, dims):
    return math.sqrt(dims / (2 * w))
""",
    },
    "31_vae-check_laplace": {
        "a Gaussian": """
class LaplacePixels(GaussianPixels):
    pass
""",
        "the scale of the standard deviation": """
class LaplacePixels(nn.Module):
    per_pixel = 1

    def forward(self, x, out):
        scale = (x - out).square().mean().sqrt() / math.sqrt(2)
        return (-torch.log(2 * scale) - (x - out).abs() / scale).flatten(1).sum(dim=1)

    def mean(self, out):
        return out
""",
        "a scale for each image": """
class LaplacePixels(nn.Module):
    per_pixel = 1

    def forward(self, x, out):
        scale = (x - out).abs().mean(dim=(1, 2, 3), keepdim=True)
        return (-torch.log(2 * scale) - (x - out).abs() / scale).flatten(1).sum(dim=1)

    def mean(self, out):
        return out
""",
        "a mean over pixels": """
class LaplacePixels(nn.Module):
    per_pixel = 1

    def forward(self, x, out):
        scale = (x - out).abs().mean()
        return (-torch.log(2 * scale) - (x - out).abs() / scale).flatten(1).mean(dim=1)

    def mean(self, out):
        return out
""",
        "without the constant": """
class LaplacePixels(nn.Module):
    per_pixel = 1

    def forward(self, x, out):
        scale = (x - out).abs().mean()
        return (-torch.log(scale) - (x - out).abs() / scale).flatten(1).sum(dim=1)

    def mean(self, out):
        return out
""",
        "no mean": """
class LaplacePixels(nn.Module):
    per_pixel = 1

    def forward(self, x, out):
        scale = (x - out).abs().mean()
        return (-torch.log(2 * scale) - (x - out).abs() / scale).flatten(1).sum(dim=1)

    def mean(self, out):
        return out / 2
""",
    },
    "32_cvae-check_balanced": {
        "the mean of all": """
def balanced(said, asked):
    return (said == asked).float().mean()
""",
        "precision in place of recall": """
def balanced(said, asked):
    right = (said == asked).float()
    return torch.stack([right[said].mean(), right[~said].mean()]).nanmean()
""",
        "NaN where nobody asked": """
def balanced(said, asked):
    right = (said == asked).float()
    return (right[asked].mean() + right[~asked].mean()) / 2
""",
    },
    "32_cvae-check_between": {
        "one label, but the wrong end first": """
def between(model, z1, z2, y, n):
    t = torch.linspace(0, 1, n)[:, None]
    with torch.no_grad():
        return model.decode(t * z1 + (1 - t) * z2, y.expand(n))
""",
        "without the last": """
def between(model, z1, z2, y, n):
    t = torch.arange(n)[:, None] / n
    with torch.no_grad():
        return model.decode((1 - t) * z1 + t * z2, y.expand(n))
""",
        "between the pictures": """
def between(model, z1, z2, y, n):
    with torch.no_grad():
        a, b = model.decode(torch.stack([z1, z2]), y.expand(2))
    t = torch.linspace(0, 1, n)[:, None, None, None]
    return (1 - t) * a + t * b
""",
        "another label": """
def between(model, z1, z2, y, n):
    t = torch.linspace(0, 1, n)[:, None]
    with torch.no_grad():
        return model.decode((1 - t) * z1 + t * z2, torch.zeros(n, dtype=torch.int64))
""",
    },
    "33_vit_cvae-check_mixed": {
        "the mask the other way round": """
def mixed(a, b, mask, p):
    tokens = torch.where(mask[:, None], patchify(b, p, p), patchify(a, p, p))
    return unpatchify(tokens, p, p, a.shape[2] // p)
""",
        "columns taken for rows": """
def mixed(a, b, mask, p):
    tokens = torch.where(mask[:, None], patchify(a, p, p), patchify(b, p, p))
    return unpatchify(tokens, p, p, a.shape[3] // p)
""",
        "counted column by column": """
def mixed(a, b, mask, p):
    rows, columns = a.shape[2] // p, a.shape[3] // p
    whole = mask.view(columns, rows).T.repeat_interleave(p, 0).repeat_interleave(p, 1)
    return torch.where(whole, a, b)
""",
    },
    "33_vit_cvae-check_multiplications": {
        "without the scores": """
def multiplications(T, d):
    return 12 * T * d * d + T * T * d
""",
        "without the output map": """
def multiplications(T, d):
    return 11 * T * d * d + 2 * T * T * d
""",
        "the heads counted twice": """
def multiplications(T, d):
    return 12 * T * d * d + 2 * 2 * T * T * d
""",
    },
    "34_editing-check_moved": {
        "towards the old class": """
def moved(z, y, new, means):
    return z + means[y] - means[new]
""",
        "on top of the old one": """
def moved(z, y, new, means):
    return z + means[new]
""",
        "the mean itself": """
def moved(z, y, new, means):
    return means[new]
""",
    },
    "34_editing-check_kept": {
        "the switched one counted too": """
def kept(before, after, k):
    return (before == after).float().mean()
""",
        "all at once": """
def kept(before, after, k):
    others = torch.arange(before.shape[1]) != k
    return (before == after)[:, others].all(dim=1).float().mean()
""",
        "the switched one in the count, not in the number": """
def kept(before, after, k):
    return (before == after).float().sum() / (before.numel() - len(before))
""",
        "always the same one left out": """
def kept(before, after, k):
    others = torch.arange(before.shape[1]) != 2
    return (before == after)[:, others].float().mean()
""",
        "only where the switch was read": """
def kept(before, after, k):
    others = torch.arange(before.shape[1]) != k
    return (before == after)[before[:, k] != after[:, k]][:, others].float().mean()
""",
        "the last one forgotten": """
def kept(before, after, k):
    others = [i for i in range(before.shape[1] - 1) if i != k]
    return (before == after)[:, others].float().mean()
""",
    },
    "40_quantize-check_tokens": {
        "the codes themselves": """
def tokens(x, codes):
    return codes[(x[:, None] - codes).abs().argmin(dim=1)]
""",
        "without the absolute value": """
def tokens(x, codes):
    return (x[:, None] - codes).argmin(dim=1)
""",
        "the largest product": """
def tokens(x, codes):
    return (x[:, None] * codes).argmax(dim=1)
""",
        "the nearest number of each code": """
def tokens(x, codes):
    return (x[:, None] - codes).abs().argmin(dim=0)
""",
    },
    "40_quantize-check_bits": {
        "nats": """
def bits(h, w, K):
    return h * w * math.log(K)


def bits_known(counts, h, w):
    return h * w * math.log(perplexity(counts))
""",
        "of one code": """
def bits(h, w, K):
    return math.log2(K)


def bits_known(counts, h, w):
    return math.log2(perplexity(counts))
""",
        "the codes in use, all alike": """
def bits(h, w, K):
    return h * w * math.log2(K)


def bits_known(counts, h, w):
    return h * w * math.log2(int((counts > 0).sum()))
""",
        "zero times minus infinity": """
def bits(h, w, K):
    return h * w * math.log2(K)


def bits_known(counts, h, w):
    p = counts / counts.sum()
    return -h * w * float((p * p.log2()).sum())
""",
    },
    "41_vqvae-check_splice": {
        "b on the left": """
def splice(model, a, b):
    left, right = model.encode(b), model.encode(a)
    half = left.shape[-1] // 2
    return model.decode(torch.cat([left[..., :half], right[..., half:]], dim=-1))
""",
        "above and below": """
def splice(model, a, b):
    above, below = model.encode(a), model.encode(b)
    half = above.shape[-2] // 2
    return model.decode(torch.cat([above[:, :half], below[:, half:]], dim=-2))
""",
        "halves of the images": """
def splice(model, a, b):
    half = a.shape[-1] // 2
    return model.reconstruct(torch.cat([a[..., :half], b[..., half:]], dim=-1))
""",
        "halves of the reconstructions": """
def splice(model, a, b):
    half = a.shape[-1] // 2
    return torch.cat([model.reconstruct(a)[..., :half], model.reconstruct(b)[..., half:]], dim=-1)
""",
    },
    "41_vqvae-check_kept": {
        "not sorted": """
def kept(counts, share):
    return int((counts.cumsum(dim=0) < share * counts.sum() - 1e-6).sum()) + 1
""",
        "the rarest first": """
def kept(counts, share):
    return int((counts.sort().values.cumsum(dim=0) < share * counts.sum() - 1e-6).sum()) + 1
""",
        "one too few": """
def kept(counts, share):
    return int((counts.sort(descending=True).values.cumsum(dim=0) < share * counts.sum() - 1e-6).sum())
""",
        "all that occur": """
def kept(counts, share):
    return int((counts > 0).sum())
""",
    },
    "42_prior-check_choose": {
        "bits": """
def tokens_to_choose_from(nats):
    return 2**nats
""",
        "the nats": """
def tokens_to_choose_from(nats):
    return nats
""",
        "a probability": """
def tokens_to_choose_from(nats):
    return math.exp(-nats)
""",
    },
    "42_prior-check_min_p": {
        "a share of one": """
def min_p(logits, share):
    return logits.masked_fill(logits.softmax(dim=1) < share, -math.inf)
""",
        "the likeliest of all rows": """
def min_p(logits, share):
    return logits.masked_fill(logits < logits.max() + math.log(share), -math.inf)
""",
        "a share of the logit": """
def min_p(logits, share):
    return logits.masked_fill(logits < share * logits.max(dim=1, keepdim=True).values, -math.inf)
""",
        "probabilities": """
def min_p(logits, share):
    p = logits.softmax(dim=1)
    return p.masked_fill(p < share * p.max(dim=1, keepdim=True).values, 0)
""",
    },
    "43_parallel-check_fixed": {
        "what is hidden": """
def fixed(T, steps):
    return [int(T * math.cos(math.pi / 2 * (i + 1) / steps)) for i in range(steps)]
""",
        "equally many": """
def fixed(T, steps):
    return [T * (i + 1) // steps - T * i // steps for i in range(steps)]
""",
        "rounded to the nearest": """
def fixed(T, steps):
    hidden = [T] + [round(T * math.cos(math.pi / 2 * (i + 1) / steps)) for i in range(steps)]
    return [before - after for before, after in zip(hidden, hidden[1:])]
""",
        "a sine, many at first": """
def fixed(T, steps):
    known = [0] + [int(T * math.sin(math.pi / 2 * (i + 1) / steps)) for i in range(steps)]
    return [after - before for before, after in zip(known, known[1:])]
""",
    },
    "43_parallel-check_impossible": {
        "those that agree": """
def impossible(p):
    return (p**2).sum()
""",
        "half of them": """
def impossible(p):
    return (1 - (p**2).sum()) / 2
""",
        "those that miss the likeliest": """
def impossible(p):
    return 1 - p.max()
""",
        "as if all were alike": """
def impossible(p):
    return 1 - 1 / len(p)
""",
    },
    "50_dcgan-check_step": {
        "gradients left over": """
def gan_step(g, d, g_opt, d_opt, x, z):
    d_logistic_loss(d(x), d(g(z).detach())).backward()
    d_opt.step()
    d_opt.zero_grad()
    g_nonsaturating_loss(d(g(z))).backward()
    g_opt.step()
    g_opt.zero_grad()
""",
        "not detached, cleared too early": """
def gan_step(g, d, g_opt, d_opt, x, z):
    d_opt.zero_grad()
    g_opt.zero_grad()
    d_logistic_loss(d(x), d(g(z))).backward()
    d_opt.step()
    g_nonsaturating_loss(d(g(z))).backward()
    g_opt.step()
""",
        "the minimax loss": """
def gan_step(g, d, g_opt, d_opt, x, z):
    d_opt.zero_grad()
    d_logistic_loss(d(x), d(g(z).detach())).backward()
    d_opt.step()
    g_opt.zero_grad()
    g_minimax_loss(d(g(z))).backward()
    g_opt.step()
""",
        "g first": """
def gan_step(g, d, g_opt, d_opt, x, z):
    g_opt.zero_grad()
    g_nonsaturating_loss(d(g(z))).backward()
    g_opt.step()
    d_opt.zero_grad()
    d_logistic_loss(d(x), d(g(z).detach())).backward()
    d_opt.step()
""",
        "only d": """
def gan_step(g, d, g_opt, d_opt, x, z):
    d_opt.zero_grad()
    d_logistic_loss(d(x), d(g(z).detach())).backward()
    d_opt.step()
""",
    },
    "50_dcgan-check_smooth": {
        "soft for both": """
def smooth_d_loss(real_logits, fake_logits, target=0.9):
    on_real = target * F.softplus(-real_logits) + (1 - target) * F.softplus(real_logits)
    on_fake = target * F.softplus(fake_logits) + (1 - target) * F.softplus(-fake_logits)
    return on_real.mean() + on_fake.mean()
""",
        "only weighed": """
def smooth_d_loss(real_logits, fake_logits, target=0.9):
    return target * F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
""",
        "the log of a sigmoid": """
def smooth_d_loss(real_logits, fake_logits, target=0.9):
    p, q = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    return (-target * p.log() - (1 - target) * (1 - p).log()).mean() - (1 - q).log().mean()
""",
        "half of the sum": """
def smooth_d_loss(real_logits, fake_logits, target=0.9):
    on_real = target * F.softplus(-real_logits) + (1 - target) * F.softplus(real_logits)
    return (on_real.mean() + F.softplus(fake_logits).mean()) / 2
""",
    },
    "51_stable_gan-check_penalty": {
        "short slopes, as R1": """
def wgan_penalty(d, real, fake, alpha):
    alpha = alpha.view(-1, 1, 1, 1)
    x = (alpha * real + (1 - alpha) * fake).requires_grad_()
    slope, = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    return slope.flatten(1).norm(dim=1).square().mean()
""",
        "not differentiable again": """
def wgan_penalty(d, real, fake, alpha):
    alpha = alpha.view(-1, 1, 1, 1)
    x = (alpha * real + (1 - alpha) * fake).requires_grad_()
    slope, = torch.autograd.grad(d(x).sum(), x)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
""",
        "real and fake swapped": """
def wgan_penalty(d, real, fake, alpha):
    alpha = alpha.view(-1, 1, 1, 1)
    x = (alpha * fake + (1 - alpha) * real).requires_grad_()
    slope, = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
""",
        "the mean slope's length": """
def wgan_penalty(d, real, fake, alpha):
    alpha = alpha.view(-1, 1, 1, 1)
    x = (alpha * real + (1 - alpha) * fake).requires_grad_()
    slope, = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    return (slope.mean(dim=0).norm() - 1).square()
""",
        "at real images": """
def wgan_penalty(d, real, fake, alpha):
    x = real.clone().requires_grad_()
    slope, = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
""",
    },
    "51_stable_gan-check_mirrored": {
        "all of them": """
def mirrored(x, heads):
    return x.flip(3)
""",
        "upside down": """
def mirrored(x, heads):
    return torch.where(heads.view(-1, 1, 1, 1), x.flip(2), x)
""",
        "tails": """
def mirrored(x, heads):
    return torch.where(heads.view(-1, 1, 1, 1), x, x.flip(3))
""",
        "no gradient": """
def mirrored(x, heads):
    x = x.detach().clone()
    x[heads] = x[heads].flip(3)
    return x
""",
        "one coin": """
def mirrored(x, heads):
    return x.flip(3) if heads[0] else x
""",
    },
    "52_cvae_gan-check_by_class": {
        "the whole batch": """
def class_feature_distance(real, fake, c):
    return feature_distance(real, fake)
""",
        "classes weighed by their images": """
def class_feature_distance(real, fake, c):
    n = c.sum(dim=0)
    means = c.T @ (real - fake) / n[:, None].clamp(min=1)
    return (n * means.square().sum(dim=1)).sum() / n.sum()
""",
        "missing classes count": """
def class_feature_distance(real, fake, c):
    means = c.T @ (real - fake) / c.sum(dim=0)[:, None].clamp(min=1)
    return means.square().sum(dim=1).mean()
""",
        "missing classes are divided by 0": """
def class_feature_distance(real, fake, c):
    means = c.T @ (real - fake) / c.sum(dim=0)[:, None]
    return means.square().sum(dim=1).mean()
""",
        "sums in place of means": """
def class_feature_distance(real, fake, c):
    return (c.T @ (real - fake)).square().sum(dim=1)[c.sum(dim=0) > 0].mean()
""",
        "no gradient": """
def class_feature_distance(real, fake, c):
    n = c.sum(dim=0)
    means = c.T @ (real - fake.detach()) / n[:, None].clamp(min=1)
    return means.square().sum(dim=1)[n > 0].mean()
""",
    },
    "52_cvae_gan-check_every_label": {
        "only what depends on the label": """
def under_every_label(critic, x):
    return critic.features(x) @ critic.of_label.weight
""",
        "without the bias": """
def under_every_label(critic, x):
    h = critic.features(x)
    return h @ critic.to_logit.weight.T + h @ critic.of_label.weight
""",
        "a pass for each label": """
def under_every_label(critic, x):
    K = critic.of_label.in_features
    return torch.stack([critic(x, torch.eye(K)[k].expand(len(x), -1)) for k in range(K)], dim=1)
""",
        "probabilities": """
def under_every_label(critic, x):
    h = critic.features(x)
    return (critic.to_logit(h) + h @ critic.of_label.weight).softmax(dim=1)
""",
    },
    "60_generator-check_mixed_styles": {
        "exchanged": """
def mixed(wa, wb, k, layers=4):
    return torch.cat([wb[:, None].expand(-1, k, -1), wa[:, None].expand(-1, layers - k, -1)], dim=1)
""",
        "a blend": """
def mixed(wa, wb, k, layers=4):
    return torch.lerp(wb, wa, k / layers)[:, None].expand(-1, layers, -1)
""",
        "one layer late": """
def mixed(wa, wb, k, layers=4):
    k = min(k + 1, layers)
    return torch.cat([wa[:, None].expand(-1, k, -1), wb[:, None].expand(-1, layers - k, -1)], dim=1)
""",
    },
    "60_generator-check_larger": {
        "pixels made larger": """
def drawn_larger(G, w, k):
    return F.interpolate(G.synthesise(w), scale_factor=k, mode="bilinear")
""",
        "places beyond the patch": """
def drawn_larger(G, w, k):
    x = G.head.colours(G.tokens(w).flatten(0, 1), k * places(4 * k, 4 * k))
    x = rearrange(x, "(b h w) (p q) c -> b c (h p) (w q)", b=len(w), h=G.head.rows, p=4 * k)
    return torch.tanh(x)
""",
        "rows and columns of patches exchanged": """
def drawn_larger(G, w, k):
    x = G.head.colours(G.tokens(w).flatten(0, 1), places(4 * k, 4 * k))
    x = rearrange(x, "(b w h) (p q) c -> b c (h p) (w q)", b=len(w), h=G.head.rows, p=4 * k)
    return torch.tanh(x)
""",
        "without the tanh": """
def drawn_larger(G, w, k):
    x = G.head.colours(G.tokens(w).flatten(0, 1), places(4 * k, 4 * k))
    return rearrange(x, "(b h w) (p q) c -> b c (h p) (w q)", b=len(w), h=G.head.rows, p=4 * k)
""",
    },
    "61_discriminator-check_stretch": {
        "its square: the length of a row of J' J": """
def stretch(layer, x, rounds):
    a = torch.randn_like(x)
    for _ in range(rounds):
        a = a / a.norm()
        _, b = torch.func.jvp(layer, (x,), (a,))
        a, = torch.func.vjp(layer, x)[1](b)
    return a.norm()
""",
        "one random direction": """
def stretch(layer, x, rounds):
    a = torch.randn_like(x)
    return torch.func.jvp(layer, (x,), (a / a.norm(),))[1].norm()
""",
        "all of the Jacobian, not its largest": """
def stretch(layer, x, rounds):
    return torch.autograd.functional.jacobian(layer, x).norm()
""",
        "token by token": """
def stretch(layer, x, rounds):
    jacobian = torch.autograd.functional.jacobian(layer, x)
    return torch.linalg.matrix_norm(jacobian.reshape(-1, x.shape[-1]), 2)
""",
        "how much x itself is stretched": """
def stretch(layer, x, rounds):
    return layer(x).norm() / x.norm()
""",
    },
    "61_discriminator-check_two_sided": {
        "forwards only": """
def two_sided(logit_fn, x, s, e):
    return ((logit_fn(x + s * e) - logit_fn(x)) / s).square().mean()
""",
        "s for 2 s": """
def two_sided(logit_fn, x, s, e):
    return ((logit_fn(x + s * e) - logit_fn(x - s * e)) / s).square().mean()
""",
        "the square of the mean": """
def two_sided(logit_fn, x, s, e):
    return ((logit_fn(x + s * e) - logit_fn(x - s * e)) / (2 * s)).mean().square()
""",
        "image by image": """
def two_sided(logit_fn, x, s, e):
    return ((logit_fn(x + s * e) - logit_fn(x - s * e)) / (2 * s)).square()
""",
        "without the weights": """
def two_sided(logit_fn, x, s, e):
    with torch.no_grad():
        return ((logit_fn(x + s * e) - logit_fn(x - s * e)) / (2 * s)).square().mean()
""",
        "directions of its own": """
def two_sided(logit_fn, x, s, e):
    e = torch.randn_like(x)
    return ((logit_fn(x + s * e) - logit_fn(x - s * e)) / (2 * s)).square().mean()
""",
    },
    "62_vitgan-check_decay": {
        "the other way round": """
def decay_of(half_life, batch_size):
    return 0.5 ** (half_life / batch_size)
""",
        "a time constant": """
def decay_of(half_life, batch_size):
    return 1 - batch_size / half_life
""",
        "e for one half": """
def decay_of(half_life, batch_size):
    return float(torch.exp(torch.tensor(-batch_size / half_life)))
""",
        "what a step adds": """
def decay_of(half_life, batch_size):
    return 1 - 0.5 ** (batch_size / half_life)
""",
    },
    "62_vitgan-check_rollout": {
        "the last block alone": """
def rollout(attentions):
    A = attentions[-1].mean(dim=1)
    return 0.5 * (torch.eye(A.shape[-1], dtype=A.dtype) + A)
""",
        "from the last block to the first": """
def rollout(attentions):
    R = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype)
    for A in attentions:
        R = R @ (0.5 * (torch.eye(R.shape[-1], dtype=A.dtype) + A.mean(dim=1)))
    return R
""",
        "without the tokens themselves": """
def rollout(attentions):
    R = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype)
    for A in attentions:
        R = A.mean(dim=1) @ R
    return R
""",
        "from the last block to the first, in a list that is turned around in place": """
def rollout(attentions):
    attentions.reverse()
    R = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype)
    for A in attentions:
        R = 0.5 * (torch.eye(R.shape[-1], dtype=A.dtype) + A.mean(dim=1)) @ R
    return R
""",
        "the sum of heads": """
def rollout(attentions):
    R = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype)
    for A in attentions:
        R = 0.5 * (torch.eye(R.shape[-1], dtype=A.dtype) + A.sum(dim=1)) @ R
    return R
""",
        "not halved": """
def rollout(attentions):
    R = torch.eye(attentions[0].shape[-1], dtype=attentions[0].dtype)
    for A in attentions:
        R = (torch.eye(R.shape[-1], dtype=A.dtype) + A.mean(dim=1)) @ R
    return R
""",
    },
    "30_autoencoder-check_components_for": {
        "one too many": """
def components_for(eigenvalues, share):
    kept = eigenvalues.double().cumsum(0) / eigenvalues.double().sum()
    return int((kept < share + 1e-6).sum()) + 1
""",
        "one too few": """
def components_for(eigenvalues, share):
    kept = eigenvalues.double().cumsum(0) / eigenvalues.double().sum()
    return int((kept < share - 1e-6).sum())
""",
        "standard deviations": """
def components_for(eigenvalues, share):
    kept = eigenvalues.sqrt().cumsum(0) / eigenvalues.sqrt().sum()
    return int((kept < share - 1e-6).sum()) + 1
""",
    },
    "30_autoencoder-check_noisy": {
        "the target is noisy too": """
def NoisyRecipe(sigma):
    class Denoiser(AutoEncoder):
        def forward(self, x, y=None):
            x = x + sigma * torch.randn_like(x)
            return dict(loss=0.5 * (x - self.reconstruct(x)).square().flatten(1).sum(dim=1).mean())

    class Noisy(AutoEncoderRecipe):
        @staticmethod
        def build(c, shape):
            return Denoiser(shape, c.latent_dim, c.widths, c.patch, c.blocks, c.components)

    return Noisy
""",
        "noise in use": """
def NoisyRecipe(sigma):
    class Denoiser(AutoEncoder):
        def reconstruct(self, x):
            return super().reconstruct(x + sigma * torch.randn_like(x))

        def forward(self, x, y=None):
            return dict(loss=0.5 * (x - self.reconstruct(x)).square().flatten(1).sum(dim=1).mean())

    class Noisy(AutoEncoderRecipe):
        @staticmethod
        def build(c, shape):
            return Denoiser(shape, c.latent_dim, c.widths, c.patch, c.blocks, c.components)

    return Noisy
""",
    },
    "70_couplings-check_affine_log_prob": {
        "the other sign": """
def affine_log_prob(x, W, b):
    z = torch.linalg.solve(W, (x - b).T).T
    return log_normal(z) + torch.linalg.slogdet(W).logabsdet
""",
        "no volume": """
def affine_log_prob(x, W, b):
    return log_normal(torch.linalg.solve(W, (x - b).T).T)
""",
        "the other way": """
def affine_log_prob(x, W, b):
    return log_normal(x @ W.T + b) + torch.linalg.slogdet(W).logabsdet
""",
    },
    "70_couplings-check_rotation": {
        "clockwise": """
class Rotation(nn.Module):
    def __init__(self, angle):
        super().__init__()
        self.angle = -angle

    def turn(self, x, angle):
        c, s = math.cos(angle), math.sin(angle)
        return torch.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]], dim=1), x.new_zeros(len(x))

    def forward(self, x, context=None):
        return self.turn(x, self.angle)

    def inverse(self, z, context=None):
        return self.turn(z, -self.angle)
""",
        "the same way back": """
class Rotation(nn.Module):
    def __init__(self, angle):
        super().__init__()
        self.angle = angle

    def forward(self, x, context=None):
        c, s = math.cos(self.angle), math.sin(self.angle)
        return torch.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]], dim=1), x.new_zeros(len(x))

    inverse = forward
""",
        "half a turn, whatever the angle": """
class Rotation(nn.Module):
    def __init__(self, angle):
        super().__init__()

    def forward(self, x, context=None):
        return -x, x.new_zeros(len(x))

    inverse = forward
""",
    },
    "70_couplings-check_uniform_to": {
        "the distribution function": """
def uniform_to(model, u):
    return model.transform.inverse(torch.special.ndtr(u))[0]
""",
        "towards the noise": """
def uniform_to(model, u):
    return model.transform(torch.special.ndtri(u))[0]
""",
    },
    "71_realnvp-check_rows": {
        "columns": """
class Rows(nn.Module):
    def sizes(self, channels):
        return channels, channels

    def split(self, x):
        return x[..., 0::2], x[..., 1::2]

    def join(self, kept, moved, size):
        return torch.stack([kept, moved], dim=4).flatten(3, 4)

    def total(self, values, size):
        return values.flatten(1).sum(dim=1)
""",
        "one half below the other": """
class Rows(nn.Module):
    def sizes(self, channels):
        return channels, channels

    def split(self, x):
        return x[:, :, 0::2], x[:, :, 1::2]

    def join(self, kept, moved, size):
        return torch.cat([kept, moved], dim=2)

    def total(self, values, size):
        return values.flatten(1).sum(dim=1)
""",
    },
    "71_realnvp-check_cell_bits": {
        "the other sign": """
def cell_bits(nats, dims, cell):
    return nats / dims / math.log(2) + math.log2(cell)
""",
        "nats": """
def cell_bits(nats, dims, cell):
    return nats / dims - math.log(cell)
""",
        "one cell for all numbers": """
def cell_bits(nats, dims, cell):
    return (nats / math.log(2) - math.log2(cell)) / dims
""",
    },
    "71_realnvp-check_additive": {
        "down": """
class Additive(nn.Module):
    n_params = 1

    def forward(self, x, params):
        return x - params[..., 0], torch.zeros_like(x)

    def inverse(self, z, params):
        return z + params[..., 0], torch.zeros_like(z)
""",
        "an inverse that stretches": """
class Additive(nn.Module):
    n_params = 1

    def forward(self, x, params):
        return x + params[..., 0], torch.zeros_like(x)

    def inverse(self, z, params):
        return z - params[..., 0], -params[..., 0]
""",
    },
    "72_glow-check_log_det_two": {
        "one pixel": """
def log_det_two(log_scale, weight, height, width):
    return log_scale.sum() + torch.linalg.slogdet(weight).logabsdet
""",
        "the scale of one pixel": """
def log_det_two(log_scale, weight, height, width):
    return log_scale.sum() + height * width * torch.linalg.slogdet(weight).logabsdet
""",
        "positive determinants alone": """
def log_det_two(log_scale, weight, height, width):
    return height * width * (log_scale.sum() + torch.logdet(weight))
""",
    },
    "72_glow-check_without": {
        "nothing": """
def without(d, other):
    return d.clone()
""",
        "for directions of length 1": """
def without(d, other):
    return d - (d @ other) * other
""",
        "a direction of length 1": """
def without(d, other):
    out = d - (d @ other) / (other @ other) * other
    return out / out.norm()
""",
    },
    "73_splines-check_free_number": {
        "the slope itself": """
def free_number(times, smallest):
    return times
""",
        "without the least slope": """
def free_number(times, smallest):
    return math.log(math.expm1(times)) - math.log(math.expm1(1))
""",
        "without the shift": """
def free_number(times, smallest):
    return math.log(math.expm1(times - smallest))
""",
    },
    "73_splines-check_masks": {
        "it sees itself": """
def masks(order, hidden):
    degree = torch.tensor(order).argsort() + 1
    unit = 1 + torch.arange(hidden) % (len(order) - 1)
    return unit[:, None] >= degree, degree[:, None] >= unit
""",
        "the order read the other way": """
def masks(order, hidden):
    degree = torch.tensor(order) + 1
    unit = 1 + torch.arange(hidden) % (len(order) - 1)
    return unit[:, None] >= degree, degree[:, None] > unit
""",
    },
    "73_splines-check_given_first": {
        "the number for its noise": """
def given_first(transform, first, n):
    z = torch.randn(n, 2)
    z[:, 0] = first
    return transform.inverse(z)[0]
""",
        "the first number put in afterwards": """
def given_first(transform, first, n):
    x = transform.inverse(torch.randn(n, 2))[0]
    x[:, 0] = first
    return x
""",
        "always the same second number": """
def given_first(transform, first, n):
    z = torch.zeros(n, 2)
    z[:, 0] = transform(torch.tensor([[first, 0.0]]))[0][0, 0]
    return transform.inverse(z)[0]
""",
    },
    "74_tarflow-check_best_guess": {
        "downhill": """
def best_guess(v, sigma):
    v = v.clone().requires_grad_()
    log_p = torch.logaddexp(-(v - 1) ** 2 / (2 * sigma**2), -(v + 1) ** 2 / (2 * sigma**2))
    score, = torch.autograd.grad(log_p.sum(), v)
    return (v - sigma**2 * score).detach()
""",
        "sigma for its square": """
def best_guess(v, sigma):
    v = v.clone().requires_grad_()
    log_p = torch.logaddexp(-(v - 1) ** 2 / (2 * sigma**2), -(v + 1) ** 2 / (2 * sigma**2))
    score, = torch.autograd.grad(log_p.sum(), v)
    return (v + sigma * score).detach()
""",
        "the nearer of the two": """
def best_guess(v, sigma):
    return torch.where(v > 0, 1.0, -1.0)
""",
    },
    "74_tarflow-check_solve": {
        "z in the place of x": """
def solve(g, z, rounds):
    for _ in range(rounds):
        x = g(z, z)
    return x
""",
        "one round too many": """
def solve(g, z, rounds):
    x = g(z, z)
    for _ in range(rounds):
        x = g(x, z)
    return x
""",
    },
    "74_tarflow-check_posterior": {
        "equal shares": """
def posterior(log_p, share):
    return log_p.softmax(dim=1)
""",
        "shares without a logarithm": """
def posterior(log_p, share):
    return (log_p + share).softmax(dim=1)
""",
        "probabilities first": """
def posterior(log_p, share):
    p = log_p.exp() * share
    return p / p.sum(dim=1, keepdim=True)
""",
    },
}

CASES = {case.id: case.values for case in exercises()}


def test_each_exercise_has_two_wrong_answers():
    assert CASES.keys() == WRONG.keys() and all(len(answers) >= 2 for answers in WRONG.values())


@pytest.mark.parametrize("check,answer", [(check, answer) for check in WRONG for answer in WRONG[check]])
def test_a_wrong_answer_is_refused(check, answer, capsys):
    path, code, stub, _ = CASES[check]
    space = reader_space(path)
    exec(code, space)
    exec(WRONG[check][answer], space)
    assert eval(stub.strip().splitlines()[-1].rstrip(";"), space) is False
    assert "Not yet: " in capsys.readouterr().out

"Exercises refuse plausible wrong answers: the identity, half of the job, a sign, two things exchanged."

import pytest
from test_chapters import exercises, reader_space

WRONG = {
    "check_mirror": {
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
    "check_colour_noise": {
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
    "check_coverage": {
        "sets exchanged": """
def coverage(points, real, radius):
    return (nearest_train(points, real) <= radius).float().mean()
""",
        "squared distance": """
def coverage(points, real, radius):
    return (nearest_train(real, points) ** 2 <= radius).float().mean()
""",
    },
    "check_fake": {
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
    "check_kl_between": {
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
    "check_posterior": {
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
    "check_exponential": {
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
    "check_nats_lost": {
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
    "check_hidden_sigma": {
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
    "check_causal": {
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
    "check_nameless": {
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
    "check_balanced": {
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
    "check_between": {
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
    "check_mixed": {
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
    "check_multiplications": {
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
    "check_moved": {
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
    "check_kept": {
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
    "check_step": {
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
    "check_smooth": {
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
    "check_penalty": {
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
    "check_mirrored": {
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
    "check_by_class": {
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
    "check_every_label": {
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
    "check_mixed_styles": {
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
    "check_larger": {
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
    "check_stretch": {
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
    "check_two_sided": {
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
    "check_decay": {
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
    "check_rollout": {
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
}
HELD = [case for case in exercises() if case.values[0].parent.name == "1_points"
        or case.values[0].stem in ("32_cvae", "33_vit_cvae", "34_editing", "50_dcgan", "51_stable_gan",
                                   "52_cvae_gan", "60_generator", "61_discriminator", "62_vitgan")]
CASES = {case.id.split("-")[-1]: case.values for case in HELD}


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

"""Switches chapter 31 from four live trainings to the study vae_sizes. Run it in a checkout that has
genlab/studies/vae_sizes.jsonl:  python benchmarks/vae_switch.py ; then nbdev-export, fill in what says TODO, run the chapter.
"""
import sys
sys.path.insert(0, 'benchmarks')
from vae_nbtool import Book

b = Book(sys.argv[1] if len(sys.argv) > 1 else 'nbs/3_vae/31_vae.ipynb')
order = [c['id'] for c in b.cells]

# [4] imports
b.rep('7c2ece0a', ('from genlab.lab.metrics import evaluate_images, mse, ssim', 'from genlab.lab.metrics import evaluate_images, mse'),
      ('from genlab.lab.training import fit\n', 'from genlab.lab.training import fit\nfrom genlab.studies import curves, read_study, runs, spreads, table\n'))
# [5] sizes only; `steps` and the 128 latents are those of the study
b.set('11cd6c95', '''b = budget(smoke=dict(steps=50, short=12, fault=60, latents=32, fake=1_000, images=2_000, k=8),
           laptop=dict(steps=900, short=150, fault=150, latents=128, fake=2_000, images=50_000, k=50),
           gpu=dict(steps=900, short=1_000, fault=1_000, latents=128, fake=2_000, images=50_000, k=200))
plt.rcParams.update({"figure.dpi": 110, "figure.constrained_layout.use": True})
print("budget:", b.name)''')
# the picture first: the live arm is a fourth seed of the study's
b.set('5d1c7a90', '''def run(steps, recipe_class=VAERecipe, seed=0, **settings):
    torch.manual_seed(seed)
    recipe = recipe_class(VAEConfig(**settings), splits)
    model, progress = fit(recipe, train, steps=steps, batch_size=128, seed=seed, ema=0.97, pictures=9, live=False)
    return model.cpu().eval(), progress


trained, _ = run(b.steps, latent_dim=b.latents, seed=3)
fig, axs = plt.subplots(1, 2, figsize=(7.5, 3.9))
show(axs[0], x, "test images", columns=8)
show(axs[1], draw_images(trained, 64), f"samples of a VAE with {b.latents} latents", columns=8)''')
# four sizes
b.set('ed81ae35', '''## Four sizes of the latent space

How large should a latent space be? The original project compared four, with 10, 128, 512 and 2048 numbers. So does the study of this chapter: the same networks around each, 900 steps, three seeds. The table has the mean ± half of the range; `loss` is the negative ELBO of test images in nats, and `active` counts the dimensions whose means vary over the data ([chapter 12](../1_points/12_vae.ipynb)). The last two rows had three times as many steps, and one seed: is a large space only slower?''')
b.get('312c3c7e')['outputs'] = []
b.set('312c3c7e', '''study = read_study("vae_sizes")
arms = {arm.config["arm"]: arm.values for arm in spreads(study)}
sizes = ["VAE, 10", "VAE, 128", "VAE, 512", "VAE, 2048"]
longer = ["VAE, 128, three times as long", "VAE, 2048, three times as long"]
columns = dict(loss=1, kl=1, bits=3, active=0, mse=4, ssim=3, parameters=0, train_seconds=0)
print(table(study, "arm", [*sizes, *longer], columns))
each = {name: arms[name]["kl"].mean / size for name, size in (("VAE, 10", 10), ("VAE, 2048", 2048))}
claim("KL per dimension, 10 latents over 2048, means of three seeds", each["VAE, 10"] / each["VAE, 2048"],
      at_least=10, seeds=3)''')
b.get('44b852cf')['outputs'] = []
b.set('44b852cf', '''fig, axs = plt.subplots(1, 2, figsize=(9.5, 3.4))
for k, size in enumerate((10, 128, 512, 2048)):
    curves(axs[0], study, f"VAE, {size}", "val_loss", "step", f"{size} latents", color=f"C{k}")
    for values in runs(study, f"VAE, {size}"):
        axs[1].loglog(values["ranks"], values["kl_sorted"], color=f"C{k}", lw=1.2)
    axs[1].text(1.15 * size, values["kl_sorted"][-1], f"{size}", color=f"C{k}", va="center", fontsize=9)
axs[0].set(xlabel="step", ylabel="-ELBO of held-out images, nats", ylim=(None, 400), title="a line for each seed")
axs[0].legend(fontsize=8)
axs[1].set(xlabel="latent dimension, the one with the largest KL first", ylabel="KL, nats", xlim=(0.9, 1e4),
           title="KL of each dimension, for each size")''')
b.set('d2a4106a', '''TODO (after the lines are there; keep what holds, by three seeds and the two longer rows):
The lowest bound (loss) has the space with TODO latents, TODO nats before the next, and its worst seed is TODO. With three times as many steps TODO (the order of 128 and 2048 stays / turns round), so TODO (a larger space is only slower / costs something even then; one seed). Chapter 12's count of active dimensions tells nothing here: TODO of TODO are active in the largest space. The right-hand figure says more: TODO (one line about how steeply the sorted KL falls, for example: with 2048 latents the largest 100 carry most of it).''')
for id in ('3a673cac', '3d2c4c72', '75baf50d', '5d1c7a94'):
    b.drop(id)
b.new('markdown', '5d1c7a9c', '''Ten test images, as the model trained above gives them back; and ten codes from $\\mathcal N(0,I)$, decoded: means again.''')
b.new('code', '5d1c7a9d', '''with torch.no_grad():
    back = trained.reconstruct(x[:10])
display(rows_of({"test images": x[:10], "decoded": back, "from the prior": draw_images(trained, 10, ex_post=False)}))''')
# from the prior, or from where the codes are
b.rep('155ff2f3', ('The mixture covers at most 128 of the dimensions, and independent Gaussians the rest; in the largest space that came out no better than the prior.', 'The mixture covers at most 128 of the dimensions, and independent Gaussians the rest.'))
b.get('1e0fac2b')['outputs'] = []
b.set('1e0fac2b', '''mean, V, eigenvalues = principal_components(to_float(train.x[:10_000]), D)
noise = torch.randn(b.fake, D, generator=torch.Generator().manual_seed(0))
made = {"one Gaussian": (mean + noise * eigenvalues.sqrt() @ V.T).clamp(-1, 1).view(-1, *train.shape),
        "prior": draw_images(trained, b.fake, ex_post=False), "density": draw_images(trained, b.fake)}
judged = {name: evaluate_images(test, to_uint8(images)) for name, images in made.items()}
COLUMNS = ("fid", "kid", "precision", "recall", "coverage")
print(f"{'':14}" + "".join(f"{c:>11}" for c in COLUMNS))
print(f"{'real':14}" + "".join(f"{judged['density'][c]['floor']:11.4f}" for c in COLUMNS))
for name, row in judged.items():
    print(f"{name:14}" + "".join(f"{row[c]['value']:11.4f}" for c in COLUMNS))
print(f"\\nn = {row['fid']['n']:,}, features of {row['fid']['extractor']}\\n")
low, high = arms["VAE, 128"]["fid_ex_post"].next_seed()
claim("FID of the VAE trained above, from the density, within what three seeds let expect", row["fid"]["value"],
      at_least=low, at_most=high, smoke=(0, 1_000))''')
b.set('5c07ecb0', '''ex_post = draw_images(trained, 36)
noise = torch.randn(ex_post.shape, generator=torch.Generator().manual_seed(0))
drawn = ex_post + trained.pixels.fixed.exp() * noise
fig, axs = plt.subplots(1, 3, figsize=(9.3, 3.4))
show(axs[0], draw_images(trained, 36, ex_post=False), "z from the prior", columns=6)
show(axs[1], ex_post, "z from the fitted density", columns=6)
show(axs[2], drawn.clamp(-1, 1), "the same z, drawn from p(x | z)", columns=6)
print(f"standard deviation of a pixel: {trained.pixels.fixed.exp():.3f}")''')
grain = b.src('3bc5a7ff').split('\n\n')[0]
walk = b.src('3bc5a7ff').split('\n\n')[-1]
b.set('3bc5a7ff', grain + '''

## Why a VAE, when an autoencoder can do it too?

[Chapter 30](30_autoencoder.ipynb)'s autoencoder draws clothes as well, with a mixture on its codes. The study trained both: the same networks, latent sizes, steps, learning rate and number of Gaussians, and three seeds. Only the loss differs.''')
b.new('code', '5d1c7a9e', '''autoencoders = ["autoencoder, 10", "autoencoder, 128"]
columns = dict(fid_prior=1, recall_prior=2, fid_ex_post=2, precision_ex_post=2, recall_ex_post=2, mse=4, bits=2)
print(table(study, "arm", [*sizes, *autoencoders], columns))''')
b.new('markdown', '5d1c7a9f', '''TODO (after the lines are there). By samples: with z from the fitted density the TODO has the better FID, at 10 latents by TODO, at 128 by TODO (beyond / within the seeds' range). From N(0, I) the autoencoder's are TODO, the VAE's TODO. So TODO (for samples alone the autoencoder with a mixture is as good or better, and we say so). What the VAE has and the other hasn't is the column on the right: a bound on $\\log p(x)$. With it one can say how much an image surprises the model, or compare two models without looking at a sample; and an image's code is a distribution, which the conditional models that follow need.

''' + walk)
b.rep('12aeacc2', ('model.encode(', 'trained.encode('), ('model.decode(slerp', 'trained.decode(slerp'), ('latent_explorer(model.decode', 'latent_explorer(trained.decode'))
# three likelihoods
t = b.src('774bf068')
b.set('774bf068', '''def active(model, n=1_000):
    with torch.no_grad():
        return model.encode(test[torch.arange(n)][0])[0].var(dim=0) > 0.01


''' + t.replace('latent_dim=large', 'latent_dim=b.latents'))
b.rep('625164f2', ('A Gaussian with a standard deviation of .2, about what this decoder has,', 'A Gaussian with a standard deviation of .2, TODO about what this decoder has,'),
      ('and the KL of about 100 is taken off', 'and the KL, TODO 100 or so, is taken off'), ("it's 38 nats, or .07 bits per number", "it's TODO 38 nats, or .07 bits per number"), ('about 38 nats or more', 'TODO about 38 nats or more'))
b.rep('ae97e676', ('model.iwae', 'trained.iwae'))
b.rep('50377b56', ('latent_dim=large', 'latent_dim=b.latents'), ('healthy, _ = runs[large]\n', ''), ('(collapsed, healthy)', '(collapsed, trained)'), ('{idle} of {large}', '{idle} of {b.latents}'), ('healthy.reconstruct', 'trained.reconstruct'))
b.rep('5d1c7a9a', ('m, _ = runs[best]\n', ''), ('HeldOut(test, m, 32)', 'HeldOut(test, trained, 32)'), ('[m.loss(x)', '[trained.loss(x)'))
b.rep('a70eb981', ('latent_dim=large', 'latent_dim=b.latents'))
b.rep('4716e6b4', ('150 steps, a third of the training above;', '150 steps, a sixth of the training above;'))

order = [i for i in order if i not in ('3a673cac', '3d2c4c72', '75baf50d', '5d1c7a94')]
k = order.index('44b852cf') + 1
order.remove('d2a4106a')
order[k:k] = ['d2a4106a', '5d1c7a9c', '5d1c7a9d']
k = order.index('3bc5a7ff') + 1
order[k:k] = ['5d1c7a9e', '5d1c7a9f']
# there is room again for the split of the bits
b.order(order)
b.save()

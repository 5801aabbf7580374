"""The transformer over codes, side by side in one run: python benchmarks/prior.py [--quick]

Maps of 7x7 codes out of 512, a batch of 64; width 128, 4 blocks, 4 heads, no dropout: ours and x-transformers' decoder
with the same sizes (absolute positions, as ours). Sampling with and without the cache of keys and values (ours with a
label in front, the peer with a start word), and a step of training: forward, backward, AdamW. Median of rounds in
turns, one process.
"""

import argparse

import torch
from measure import seconds
from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

from genlab.vq.parallel import MaskedPrior
from genlab.vq.prior import TokenPrior
from genlab.workshop.runs import keep_memory

K, T, BATCH = 512, 49, 64


def trainer(model, loss):
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step():
        model.train()
        loss().backward()
        opt.step()
        opt.zero_grad()
        model.eval()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds")
    rounds = 2 if parser.parse_args().quick else 9
    torch.manual_seed(0)
    keep_memory()
    ours = TokenPrior(K, (7, 7), d_model=128, depth=4, n_heads=4, dropout=0.0).eval()
    masked = MaskedPrior(K, (7, 7), d_model=128, depth=4, n_heads=4, dropout=0.0).eval()
    net = TransformerWrapper(num_tokens=K + 1, max_seq_len=T + 1,
                             attn_layers=Decoder(dim=128, depth=4, heads=4, attn_dim_head=32))
    peer = AutoregressiveWrapper(net).eval()
    index, y, start = torch.randint(K, (BATCH, T)), torch.zeros(BATCH, dtype=torch.int64), torch.full((BATCH, 1), K)
    ways = {
        "sampling, ours, cached": lambda: ours.sample(BATCH, y),
        "sampling, ours, without cache": lambda: ours.sample(BATCH, y, cache=False),
        "sampling, ours, parallel in 8 steps": lambda: masked.sample(BATCH, y, steps=8),
        "sampling, x-transformers, cached": lambda: peer.generate(
            start, T, cache_kv=True, filter_logits_fn=lambda logits: logits),
        "sampling, x-transformers, without cache": lambda: peer.generate(
            start, T, cache_kv=False, filter_logits_fn=lambda logits: logits),
        "step of training, ours": trainer(ours, lambda: ours(index.view(-1, 7, 7), y)["loss"]),
        "step of training, x-transformers": trainer(peer, lambda: peer(torch.cat([start, index], dim=1))),
    }
    for f in ways.values():
        f()
    times = [{name: seconds(f) for name, f in ways.items()} for _ in range(rounds)]
    print(f"| {BATCH} maps of {T} codes, median of {rounds} rounds | ms | times ours (range) |\n|---|---|---|")
    for name in ways:
        base = "sampling, ours, cached" if "sampling" in name else "step of training, ours"
        ratios, ms = sorted(t[name] / t[base] for t in times), sorted(1e3 * t[name] for t in times)[rounds // 2]
        print(f"| {name} | {ms:.0f} | {ratios[rounds // 2]:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) |")
    print(f"\nParameters: ours {sum(p.numel() for p in ours.parameters()):,}, "
          f"x-transformers {sum(p.numel() for p in peer.parameters()):,}.")


if __name__ == "__main__":
    main()

"""A GPT in flax nnx on Python's own source, trained with AdamW and with a learned optimizer.

python examples/nnx_transformer.py --steps=500 --plot=nnx_transformer.png

`with_adamw` is what such a script has; in `with_lopt` six lines differ, and `import lopt` is the
seventh.
"""

import argparse
import email
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

import lopt

WIDTH, DEPTH, HEADS, LENGTH, BATCH = 64, 2, 4, 64, 16


class Block(nnx.Module):
    def __init__(self, rngs):
        self.attention_norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x, mask):
        x = x + self.attention(self.attention_norm(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norm(x))))


class GPT(nnx.Module):
    def __init__(self, vocabulary, rngs):
        self.tokens = nnx.Embed(vocabulary, WIDTH, rngs=rngs)
        self.positions = nnx.Embed(LENGTH, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(DEPTH)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, vocabulary, rngs=rngs)

    def __call__(self, tokens):
        x = self.tokens(tokens) + self.positions(jnp.arange(tokens.shape[1]))
        mask = nnx.make_causal_mask(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


def read_text():
    """The characters of a package of the standard library, as numbers, and how many there are."""
    files = sorted(Path(email.__file__).parent.glob("*.py"))
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    characters = sorted(set(text))
    return np.searchsorted(characters, list(text)), len(characters)


def loss(model, batch):
    logits = model(batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:]).mean()


def with_adamw(model, batch, steps, rate):
    optimizer = optax.adamw(optax.cosine_decay_schedule(rate, steps))
    return nnx.Optimizer(model, optimizer, wrt=nnx.Param)


def with_lopt(model, batch, steps):
    modes = {"deterministic": True, "use_running_average": False}
    seen = nnx.view(model, **modes, raise_if_not_found=False)
    graph, params, rest = nnx.split(seen, nnx.Param, ...)
    of_params = lambda p, rest, batch: loss(nnx.merge(graph, p, rest), batch)  # noqa: E731
    spec = lopt.infer_spec(of_params, params, rest, batch)
    optimizer = lopt.optimizer("base", total_steps=steps, spec=spec)
    return nnx.Optimizer(model, optimizer, wrt=nnx.Param)


def train(text, vocabulary, steps, make_optimizer, *settings):
    """The loss of each step."""
    draw = np.random.default_rng(0)
    starts = draw.integers(len(text) - LENGTH - 1, size=(steps, BATCH, 1))
    batches = jnp.asarray(text[starts + np.arange(LENGTH + 1)])
    model = GPT(vocabulary, nnx.Rngs(0))
    optimizer = make_optimizer(model, batches[0], steps, *settings)

    @nnx.jit
    def step(model, optimizer, batch):
        value, grads = nnx.value_and_grad(loss)(model, batch)
        optimizer.update(model, grads)
        return value

    return [float(step(model, optimizer, batch)) for batch in batches]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--plot", default="nnx_transformer.png")
    flags = parser.parse_args()
    text = read_text()
    runs = {"lopt": train(*text, flags.steps, with_lopt)}
    for rate in flags.rates:
        runs[f"AdamW {rate:g}"] = train(*text, flags.steps, with_adamw, rate)
    figure, axes = plt.subplots(figsize=(6, 4))
    for name, losses in runs.items():
        last = losses[-max(1, flags.steps // 20) :]
        print(f"{name}: first loss {losses[0]:.4f}, last {np.mean(last):.4f}", flush=True)
        window = max(1, flags.steps // 50)
        smooth = np.convolve(losses, np.ones(window) / window, "valid")
        axes.plot(np.arange(window, flags.steps + 1), smooth, label=name)
    axes.set(xlabel="step", ylabel="loss (nats per character)")
    axes.legend()
    figure.savefig(flags.plot, dpi=150, bbox_inches="tight")


if __name__ == "__main__":
    main()
